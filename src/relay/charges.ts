import { isChargeType, parseChargeBody } from "../charging/charge-body.ts";
import { ChargeBook, type Outcome } from "../charging/charge-book.ts";
import { type SessionFacts, sessionChanged, sessionEnded, sessionStarted } from "../charging/events.ts";
import type { SipMessage } from "../sip/message.ts";
import type { ServerTransaction } from "../transaction/types.ts";
import { answerCharges } from "./charge-answers.ts";
import type { Core } from "./core.ts";
import type { Session } from "./session.ts";

/**
 * What a session costs, on its way to the record: start and end of its time (M12, M13), and what the app server charges
 * (M14-M17). Nothing is answered before it is on disk (DESIGN.md, decision 8).
 */
export class SessionCharges {
  private readonly core: Core;
  private readonly session: Session;
  private opened: ChargeBook | undefined;
  /** What is on its way to the disk; the answer to BYE waits for it. */
  private pending: Promise<unknown>[] | undefined;

  constructor(core: Core, session: Session) {
    this.core = core;
    this.session = session;
  }

  /** What the app server has charged; made with the first charge. */
  get book(): ChargeBook {
    if (this.opened) return this.opened;
    const { session, core } = this;
    this.opened = new ChargeBook(core.keeping, session.facts, session.service.limits);
    this.opened.before = session.replaces?.book;
    if (session.facts.hold !== undefined)
      this.opened.cover = async (sum) =>
        session.credit ? session.credit.cover(sum) : { kind: "prepaid", text: "no session came of it" };
    return this.opened;
  }

  /** Undefined: nothing was charged yet. */
  get bookIfAny(): ChargeBook | undefined {
    return this.opened;
  }

  /** The clock runs since `at`. Rejects when that could not be put on record. */
  started(at: number): Promise<void> {
    return this.core.recorder.append(sessionStarted(this.session.facts, at)).catch((error) => {
      this.log("error", { err: error }, "the start of a session could not be put on record");
      throw error;
    });
  }

  /** The clock runs since `at` in the place of the part `from`, which ran since `startedAt` (M20-M22). Rejects as above. */
  changed(from: SessionFacts, startedAt: number, at: number): Promise<void> {
    const event = sessionChanged(this.session.facts, from, startedAt, at);
    const { recorder, laterRecords } = this.core;
    return recorder.append(event).catch((error) => {
      this.log("error", { err: error, event }, "a change of service could not be put on record");
      laterRecords.add(() => recorder.append(event)); // what ended the part before
      throw error;
    });
  }

  /** The clock stopped. Resolves when the end, and everything charged before, is on disk. */
  async ended(startedAt: number, endedAt: number, endedBy: string): Promise<void> {
    const event = sessionEnded(this.session.facts, startedAt, endedAt, endedBy);
    const { recorder, laterRecords } = this.core;
    let failure: { readonly error: unknown } | undefined;
    if (this.pending)
      await this.settled().catch((error) => {
        failure = { error }; // it is not answered for, and has ended all the same
      });
    try {
      await recorder.append(event);
    } catch (error) {
      // Whole, so that it can be entered by hand.
      this.log("error", { err: error, event }, "the end of a session could not be put on record");
      laterRecords.add(() => recorder.append(event));
      throw error;
    }
    if (failure) throw failure.error;
    if (this.core.log.isLevelEnabled("debug"))
      this.log("debug", { durationMs: event.durationMs, endedBy }, "session ended");
  }

  /** Resolves when everything charged so far is on disk; for a session whose clock never ran. */
  async settled(): Promise<void> {
    const { pending } = this;
    this.pending = undefined;
    if (pending) await Promise.all(pending);
  }

  /** M14: charges in an INFO; answers it. */
  take(transaction: ServerTransaction): void {
    takeCharges(this.book, transaction, "info");
  }

  /** M16: charges in the body of the app server's 200 to BYE, or of its own BYE. Nobody can be told that they are bad: the log is. */
  collect(message: SipMessage): void {
    const type = message.headers.get("content-type");
    if (type === undefined || !isChargeType(type)) return;
    const charges = parseChargeBody(type, message.body);
    if (!charges.ok) {
      this.book.refuse({ kind: "unreadable", text: charges.error }, message.body.toString("utf8"));
      return;
    }
    const enter = async () => {
      const done = await this.book.enter(charges.value, "bye");
      if (done.kind === "failed") throw done.error;
    };
    const recorded = enter();
    recorded.catch(() => this.core.laterRecords.add(enter)); // `ended` and `settled` say what it means
    this.pending ??= [];
    this.pending.push(recorded);
  }

  private log(level: "debug" | "error", facts: object, text: string): void {
    const { call, id, user, service, appServer } = this.session.facts;
    this.core.log[level]({ call, session: id, user, service, appServer, ...facts }, text);
  }
}

/** Enters the charges of a request into a session's book, and answers it when they are on disk, or are refused. */
export function takeCharges(book: ChargeBook, transaction: ServerTransaction, channel: "info"): void {
  const { request } = transaction;
  const charges = parseChargeBody(request.headers.get("content-type") ?? "", request.body);
  const outcome: Outcome | Promise<Outcome> = charges.ok
    ? book.enter(charges.value, channel)
    : book.refuse({ kind: "unreadable", text: charges.error });
  if (outcome instanceof Promise) void outcome.then((done) => answerCharges(transaction, done));
  else answerCharges(transaction, outcome);
}
