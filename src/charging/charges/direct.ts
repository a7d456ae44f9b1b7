import type { AppServer, Service } from "../../directory/types.ts";
import type { Charge } from "../events/charge-fields.ts";
import { readSessionId } from "../events/session-ids.ts";
import type { BookKeeping, Outcome, Refusal } from "./book.ts";
import {
  type ChargeableSession,
  type Keeper,
  NEVER_BEGAN,
  StoredBooks,
  type StoredBooksOptions,
} from "./stored-books.ts";

export type { ChargeableSession } from "./stored-books.ts";

/** A session that is being set up here: it takes charges as soon as it stands. */
export interface ComingSession {
  readonly appServer: string;
  readonly book?: undefined;
}

/** What an app server reports outside of the session's dialog: by SIP MESSAGE (M15), or by HTTPS or NATS (M17). */
export interface DirectRequest {
  readonly session: string;
  readonly charges: readonly Charge[];
  readonly channel: "message" | "direct";
}

export interface DirectChargesOptions extends StoredBooksOptions {
  readonly keeping: BookKeeping;
  /**
   * Sessions that run on this node, or ended on it a short while ago: their books know what is on its way to the bill.
   */
  readonly local: (session: string) => ChargeableSession | ComingSession | undefined;
  readonly directory: { service(id: string): Service | undefined; appServer(id: string): AppServer | undefined };
  /** There is no other relay. */
  readonly alone?: boolean;
  /** This relay's name in the ids of sessions. */
  readonly node?: string;
  /**
   * Has the relay of that name answer, which has the session's book. Resolves to undefined where there is no such
   * relay now; rejects where nobody can know.
   */
  readonly elsewhere?:
    | ((node: string, appServer: string, request: DirectRequest) => Promise<Outcome | undefined>)
    | undefined;
}

const UNKNOWN: Refusal = { kind: "unknown", text: "no session of that id was with this app server" };

/**
 * Charges outside of the session's own dialog, whatever carries them: an app server can charge only sessions that
 * were with it, only services that it offers, in time, and within the same limits as in the dialog (M15, M17).
 *
 * There is one book for a session, wherever it is asked for. While the relay that has or had the session is there,
 * that one's: what ran or runs there is in its memory, and the rest in the store, as soon as billing has seen what
 * the relay has recorded. When it is gone, the store alone says what there was, and others answer by that: not before
 * the session's end is billed. What nobody can know now gets a temporary answer.
 */
export class DirectCharges {
  private readonly options: DirectChargesOptions;
  private readonly stored: StoredBooks;

  constructor(options: DirectChargesOptions) {
    this.options = options;
    this.stored = new StoredBooks(options);
  }

  /** Makes all of the charges, or none. Never rejects. */
  async charge(appServer: string, request: DirectRequest): Promise<Outcome> {
    const { local, elsewhere } = this.options;
    const node = this.otherNode(request.session);
    if (local(request.session) || node === undefined) return this.chargeHere(appServer, request);
    let outcome: Outcome | undefined;
    try {
      outcome = await elsewhere?.(node, appServer, request);
    } catch (error) {
      return this.notNow(appServer, request.session, error);
    }
    return outcome ?? this.chargeBy("gone", appServer, request);
  }

  /** The same where this relay has the session's book, for whichever relay asks. */
  chargeHere(appServer: string, request: DirectRequest): Promise<Outcome> {
    return this.chargeBy(this.keeper(request.session), appServer, request);
  }

  private async chargeBy(keeper: Keeper, appServer: string, request: DirectRequest): Promise<Outcome> {
    const { session, charges, channel } = request;
    const found = await this.look(session, keeper).catch((error: unknown) => ({ error }));
    if (found === "later") return this.notNow(appServer, session, new Error("billing has not seen it yet"));
    if (typeof found === "object" && "error" in found) return this.notNow(appServer, session, found.error);
    // Somebody else's session is answered for like none: nobody learns by trying which there are.
    if (found === "unknown" || appServerOf(found) !== appServer) return this.refuseUnknown(appServer, session);
    if (!found.book) return this.notNow(appServer, session, new Error("the session is being set up"));
    const refusal = this.refusal(found);
    return refusal ? found.book.refuse(refusal, charges) : found.book.enter(charges, channel);
  }

  /** The same for a body that could not be read. */
  async refuse(appServer: string, session: string, refusal: Refusal): Promise<Outcome> {
    const found = await this.look(session, this.keeper(session)).catch(() => "later" as const);
    if (found === "unknown" || (found !== "later" && appServerOf(found) !== appServer))
      return this.refuseUnknown(appServer, session);
    return found !== "later" && found.book ? found.book.refuse(refusal) : { kind: "refused", refusal };
  }

  /** The app server that a session is or was with; undefined: there is none. `later`: nobody can know it now. */
  async appServerOf(session: string): Promise<{ readonly appServer: string } | "later" | undefined> {
    const found = await this.look(session, this.keeper(session)).catch(() => "later" as const);
    if (found === "unknown") return undefined;
    return found === "later" ? found : { appServer: appServerOf(found) };
  }

  private async look(session: string, keeper: Keeper) {
    return this.options.local(session) ?? this.stored.find(session, keeper);
  }

  /** The name of the other relay that has or had the session; undefined: it is this one, or nobody knows. */
  private otherNode(session: string): string | undefined {
    const { alone, node } = this.options;
    const name = alone ? undefined : readSessionId(session)?.node;
    return name === node ? undefined : name;
  }

  private keeper(session: string): Keeper {
    const { alone, node } = this.options;
    if (alone) return "self";
    const name = readSessionId(session)?.node;
    return name === undefined ? "any" : name === node ? "self" : "gone";
  }

  private refusal({ book, dueAt }: ChargeableSession): Refusal | undefined {
    const { directory, local } = this.options;
    const { id, appServer, service, hold } = book.facts;
    if (dueAt === NEVER_BEGAN) return { kind: "closed", text: "the session came to nothing, and takes no charges" };
    if (dueAt !== null && book.timeline.now() >= dueAt) {
      const since = new Date(dueAt).toISOString();
      return { kind: "closed", text: `the session takes no more charges since ${since}` };
    }
    if (!directory.appServer(appServer)?.services.includes(service))
      return { kind: "forbidden", text: `app server ${appServer} does not offer ${service}` };
    // What is held of the balance is settled with the session, and only the node that runs it can hold more.
    if (hold !== undefined && (dueAt !== null || local(id) === undefined))
      return { kind: "prepaid", text: "a prepaid session takes charges only while it runs, at the node that runs it" };
    return undefined;
  }

  private refuseUnknown(appServer: string, session: string): Outcome {
    const { keeping } = this.options;
    keeping.counters.chargesRefused++;
    keeping.log.debug({ appServer, session: session.slice(0, 64) }, "charge refused: unknown session");
    return { kind: "refused", refusal: UNKNOWN };
  }

  /** Who asks again later with the same ids is charged once. */
  private notNow(appServer: string, session: string, error: unknown): Outcome {
    const { counters, log, peerLog } = this.options.keeping;
    if (counters.chargesPutOff !== undefined) counters.chargesPutOff++;
    const what = { appServer, session: session.slice(0, 64), err: error };
    if (peerLog) peerLog.info("charges put off: what was charged so far cannot be known now", appServer, what);
    else log.info(what, "charges put off: what was charged so far cannot be known now");
    return { kind: "failed", error, unknown: true };
  }
}

const appServerOf = (found: ChargeableSession | ComingSession): string =>
  found.book ? found.book.facts.appServer : (found as ComingSession).appServer;
