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

/** A session that is being set up here. It takes charges as soon as it is established. */
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
  /** True where there is no other relay. */
  readonly alone?: boolean;
  /** This relay's name in the ids of sessions. */
  readonly node?: string;
  /**
   * Asks the relay of that name, which has the session's book. Resolves to undefined where there is no such relay now;
   * rejects where this cannot be found out.
   */
  readonly elsewhere?:
    | ((node: string, appServer: string, request: DirectRequest) => Promise<Outcome | undefined>)
    | undefined;
}

const UNKNOWN: Refusal = { kind: "unknown", text: "no session of that id was with this app server" };

/**
 * Charges outside of the session's own dialog, whatever carries them (M15, M17). An app server can charge only its own
 * sessions, only for services that it offers, only in time, and within the same limits as in the dialog.
 *
 * There is only one book for a session, whichever relay is asked. As long as the relay that has or had the session is
 * there, it keeps the book: from its memory, or else from the store, once billing has seen what that relay has
 * recorded. When that relay is gone, other relays answer from the store alone, but not before the session's end is
 * billed. What cannot be found out now gets a temporary answer.
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

  /** The same where this relay has the session's book. Other relays ask this way, too. */
  chargeHere(appServer: string, request: DirectRequest): Promise<Outcome> {
    return this.chargeBy(this.keeper(request.session), appServer, request);
  }

  private async chargeBy(keeper: Keeper, appServer: string, request: DirectRequest): Promise<Outcome> {
    const { session, charges, channel } = request;
    const found = await this.look(session, keeper).catch((error: unknown) => ({ error }));
    if (found === "later") return this.notNow(appServer, session, new Error("billing has not seen it yet"));
    if (typeof found === "object" && "error" in found) return this.notNow(appServer, session, found.error);
    // Another app server's session gets the same answer as an unknown one, so that nobody learns by trying which
    // sessions there are.
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

  /** The app server of a session; undefined: there is no such session. `later`: this cannot be found out now. */
  async appServerOf(session: string): Promise<{ readonly appServer: string } | "later" | undefined> {
    const found = await this.look(session, this.keeper(session)).catch(() => "later" as const);
    if (found === "unknown") return undefined;
    return found === "later" ? found : { appServer: appServerOf(found) };
  }

  private async look(session: string, keeper: Keeper) {
    return this.options.local(session) ?? this.stored.find(session, keeper);
  }

  /** The name of the other relay that has or had the session; undefined: it is this relay, or the id does not say. */
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
    // The hold in the balance is settled with the session's end, and only the node that runs the session can hold more.
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

  /** The app server may try again later: with the same ids, the charges are made once. */
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
