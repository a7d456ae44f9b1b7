import type { AppServer, Service } from "../directory/types.ts";
import type { BillingStore } from "./billing-store.ts";
import { type BookKeeping, ChargeBook, type Outcome, type Refusal } from "./charge-book.ts";
import type { Charge, SessionFacts } from "./events.ts";

/** A session that can be charged, or could be until now. */
export interface ChargeableSession {
  readonly book: ChargeBook;
  /** When its time for late charges is over, by the book's timeline; null: it still runs. */
  readonly dueAt: number | null;
}

/** What an app server reports outside of the session's dialog: by SIP MESSAGE (M15), or by HTTPS or NATS (M17). */
export interface DirectRequest {
  readonly session: string;
  readonly charges: readonly Charge[];
  readonly channel: "message" | "direct";
}

export interface DirectChargesOptions {
  readonly keeping: BookKeeping;
  /** Sessions that run on this node, or ended on it a short while ago: their books know what is on its way to the bill. */
  readonly local: (session: string) => ChargeableSession | undefined;
  /** All others: what the bill says of them. */
  readonly billing: Pick<BillingStore, "accounts" | "entriesOf">;
  readonly directory: { service(id: string): Service | undefined; appServer(id: string): AppServer | undefined };
}

/** How old what was read of a session may be, and how many are remembered. */
const REFRESH_MS = 1_000;
const MAX_REMEMBERED = 1_000;

const UNKNOWN: Refusal = { kind: "unknown", text: "no session of that id was with this app server" };

/**
 * Charges outside of the session's own dialog, whatever carries them: an app server can charge only sessions that were with it, only services
 * that it offers, in time, and within the same limits as in the dialog (M15, M17).
 *
 * Sessions of other nodes on the same store are taken as the bill shows them. What two nodes take for one session within the time that it takes
 * to be billed is checked by each of them alone: the limits may then be passed by that much. Nothing is charged twice: the bill has each charge
 * id once.
 */
export class DirectCharges {
  private readonly options: DirectChargesOptions;
  /** In order of last reading. */
  private readonly remembered = new Map<string, { readAt: number; found: Promise<ChargeableSession | undefined> }>();

  constructor(options: DirectChargesOptions) {
    this.options = options;
  }

  /** Makes all of the charges, or none. Never rejects. */
  async charge(appServer: string, { session, charges, channel }: DirectRequest): Promise<Outcome> {
    let found: ChargeableSession | undefined;
    try {
      found = await this.find(session);
    } catch (error) {
      return { kind: "failed", error };
    }
    // Somebody else's session is answered for like none: nobody learns by trying which there are.
    if (found?.book.facts.appServer !== appServer) return this.refuseUnknown(appServer, session);
    const refusal = this.refusal(found);
    return refusal ? found.book.refuse(refusal, charges) : found.book.enter(charges, channel);
  }

  /** The same for a body that could not be read. */
  async refuse(appServer: string, session: string, refusal: Refusal): Promise<Outcome> {
    const found = await this.find(session).catch(() => undefined);
    if (found?.book.facts.appServer !== appServer) return this.refuseUnknown(appServer, session);
    return found.book.refuse(refusal);
  }

  /** The session, wherever it is or was. Rejects when the store cannot be read. */
  async find(session: string): Promise<ChargeableSession | undefined> {
    return this.options.local(session) ?? (await this.stored(session));
  }

  private refusal({ book, dueAt }: ChargeableSession): Refusal | undefined {
    const { directory, local } = this.options;
    const { id, appServer, service, hold } = book.facts;
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

  private stored(session: string): Promise<ChargeableSession | undefined> {
    const { remembered } = this;
    const now = this.options.keeping.clock.monotonic();
    const known = remembered.get(session);
    if (known && now - known.readAt < REFRESH_MS) return known.found;
    const found = this.read(session, known?.found);
    remembered.delete(session);
    remembered.set(session, { readAt: now, found });
    if (remembered.size > MAX_REMEMBERED) remembered.delete(remembered.keys().next().value!);
    const forget = () => {
      if (remembered.get(session)?.found === found) remembered.delete(session);
    };
    found.then((one) => one ?? forget(), forget);
    return found;
  }

  /** Account and entries as the store has them. The book stays the same from reading to reading: it knows what is not billed yet. */
  private async read(
    session: string,
    earlier: Promise<ChargeableSession | undefined> | undefined,
  ): Promise<ChargeableSession | undefined> {
    const { billing, directory, keeping } = this.options;
    const [account] = await billing.accounts([session]);
    if (!account) return undefined;
    const { state, context } = account;
    const entries = await billing.entriesOf(session);
    let book = (await earlier?.catch(() => undefined))?.book;
    if (!book) {
      const { user, service, appServer, call, tariff, windowMs, hold } = context;
      const facts: SessionFacts = {
        id: session,
        user,
        service,
        appServer,
        call,
        ...(tariff && { tariff }),
        ...(windowMs > 0 && { lateChargesMs: windowMs }),
        ...(hold !== undefined && { hold }),
      };
      // The account has no tariff after the end; the line for its time still says in which currency it was.
      const time = entries.find(({ kind }) => kind === "time");
      book = new ChargeBook(keeping, facts, directory.service(service)?.limits, undefined, time?.currency || undefined);
    }
    book.merge(entries);
    const running = state === "open" || state === "running";
    return { book, dueAt: running ? null : (context.dueAt ?? (context.endedAt ?? 0) + context.windowMs) };
  }
}
