import type { Side } from "../../../machines/events.ts";
import { bringsCharges, parseChargeBody } from "../../charging/charges/body.ts";
import { ChargeBook, type Outcome } from "../../charging/charges/book.ts";
import type { BookState } from "../../charging/charges/book-state.ts";
import type { CallCharges } from "../../charging/charges/call-charges.ts";
import {
  type ChargeMade,
  type SessionFacts,
  sessionChanged,
  sessionEnded,
  sessionStarted,
} from "../../charging/events/events.ts";
import type { SipMessage } from "../../sip/message.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { contained, type FaultLog } from "../model/contained.ts";
import type { Core, SessionPort as Session } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";
import type { ChargesPort } from "../model/ports.ts";
import { answerCharges } from "./charge-answers.ts";

/**
 * Puts on record what a session costs: the start and end of its time (M12, M13), and what the app server charges
 * (M14-M17). Nothing is answered before it is on disk (decision 8).
 */
export class SessionCharges implements ChargesPort {
  private readonly core: Core;
  private readonly session: Session;
  private opened: ChargeBook | undefined;
  /** Undefined: the session is the only part of its call. */
  call: CallCharges | undefined;
  /** Charges on their way to the disk; the answer to BYE waits for them. */
  private pending: Promise<unknown>[] | undefined;

  constructor(core: Core, session: Session) {
    this.core = core;
    this.session = session;
  }

  /** The session is a part of a call, whose limits are for all of it (M20-M24). */
  joins(call: CallCharges): void {
    this.call = call;
    if (this.opened) call.add(this.opened);
  }

  /** What the app server has charged; made with the first charge. */
  get book(): ChargeBook {
    if (this.opened) return this.opened;
    const { session, core } = this;
    this.opened = new ChargeBook(core.keeping, session.facts, session.service.limits, session.timeline);
    this.opened.before = session.successorOf?.book;
    if (session.facts.hold !== undefined)
      this.opened.cover = async (charged) =>
        session.credit ? session.credit.cover(charged) : { kind: "prepaid", text: "no session came of it" };
    this.call?.add(this.opened);
    return this.opened;
  }

  /** Makes the book now, so that all who may charge use the same one. */
  open(): void {
    void this.book;
  }

  /** Undefined: nothing was charged yet. */
  get bookIfAny(): ChargeBook | undefined {
    return this.opened;
  }

  /** What the same app server has charged in the parts before (M20). */
  get before(): ChargeBook | undefined {
    return this.opened?.before ?? this.session.successorOf?.book;
  }

  /** What was charged, as data; undefined: nothing, neither here nor before. */
  state(without?: "without charges"): BookState | undefined {
    if (this.session.successorOf?.book) this.open();
    return this.opened?.state(without);
  }

  /** For a session that was restored. Called after the session has joined its call. */
  restore(state: BookState): void {
    this.book.restore(state, (earlier) => this.call?.add(earlier));
  }

  /** The clock has run since `at`. Rejects when the start could not be put on record. */
  started(at: number): Promise<void> {
    return this.core.recorder.append(sessionStarted(this.session.facts, at)).catch((error) => {
      this.log("error", { err: error }, "the start of a session could not be put on record");
      throw error;
    });
  }

  /**
   * The clock of this part has run since `at`. Until then the part `from` ran, since `startedAt` (M20-M22). Rejects
   * when this could not be put on record.
   */
  changed(from: SessionFacts, startedAt: number, at: number): Promise<void> {
    const event = sessionChanged(this.session.facts, from, startedAt, at);
    const { recorder, laterRecords } = this.core;
    return recorder.append(event).catch((error) => {
      this.log("error", { err: error, event }, "a change of service could not be put on record");
      laterRecords.add(() => recorder.append(event)); // the event is also the end of the part before
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
        failure = { error }; // rejects below; but first the end goes on record
      });
    try {
      await recorder.append(event);
    } catch (error) {
      // The whole event is logged, so that it can be entered by hand.
      this.log("error", { err: error, event }, "the end of a session could not be put on record");
      laterRecords.add(() => recorder.append(event));
      throw error;
    }
    if (failure) throw failure.error;
    if (this.core.log.isLevelEnabled("debug"))
      this.log("debug", { durationMs: event.durationMs, endedBy }, "session ended");
  }

  /** Resolves when everything charged so far is on disk. Also serves a session whose clock never ran. */
  async settled(): Promise<void> {
    const { pending } = this;
    this.pending = undefined;
    if (pending) await Promise.all(pending);
  }

  /** M14: charges in an INFO, or in a MESSAGE in the dialog (M15); answers it. */
  take(transaction: ServerTransaction): void {
    takeCharges(this.core, this.book, transaction, this.session);
  }

  /**
   * M16: charges in the body of the app server's answer to BYE, or of its own BYE. Resolves to what became of them;
   * undefined: there are none. The session's end is put on record after them. Charges that could not be written to disk
   * are tried again until they can, even if the app server was told of the failure.
   */
  collect(message: SipMessage): Promise<Outcome> | undefined {
    const type = message.headers.get("content-type");
    if (type === undefined || !bringsCharges(type, message.body)) return undefined;
    const charges = parseChargeBody(type, message.body);
    if (!charges.ok)
      return Promise.resolve(
        this.book.refuse({ kind: "unreadable", text: charges.error }, message.body.toString("utf8")),
      );
    const enter = async () => {
      const done = await this.book.enter(charges.value, "bye");
      if (done.kind === "failed") throw done.error;
      return done;
    };
    const recorded = enter();
    this.pending ??= [];
    this.pending.push(recorded);
    return recorded.catch((error): Outcome => {
      this.core.laterRecords.add(enter);
      return { kind: "failed", error }; // `ended` and `settled` reject with it
    });
  }

  /**
   * Passes a message on to the other end, without charges of the app server: they are not for the client. Charges in
   * such a message are refused, because no answer to it could say what became of them. The refusal is on record.
   */
  passOn(from: SipMessage, to: SipMessage, towards: Side): void {
    if (this.core.border.pass(from, to, towards)) return;
    const where = from.isRequest ? from.method : `${from.status} to ${from.cseq?.method ?? "a request"}`;
    this.book.refuse({ kind: "unreadable", text: `charges are not taken in ${where}` }, from.body.toString("utf8"));
  }

  private log(level: "debug" | "error", facts: object, text: string): void {
    const { service, appServer } = this.session.facts;
    this.core.log[level]({ ...ofSession(this.session), service, appServer, ...facts }, text);
  }
}

/**
 * Enters the charges of a request into a session's book. Answers the request when they are on disk, or are refused.
 * `session` is given while the session runs.
 */
export function takeCharges(
  faults: FaultLog,
  book: ChargeBook,
  transaction: ServerTransaction,
  session?: Session,
): void {
  const { request } = transaction;
  const charges = parseChargeBody(request.headers.get("content-type") ?? "", request.body);
  const outcome: Outcome | Promise<Outcome> = charges.ok
    ? book.enter(charges.value, CHANNELS[request.method] ?? "info")
    : book.refuse({ kind: "unreadable", text: charges.error });
  if (outcome instanceof Promise) {
    const answered = outcome.then((done) => answerCharges(transaction, done));
    void contained(faults, answered, { actor: session?.actor, transaction });
  } else answerCharges(transaction, outcome);
}

const CHANNELS: Readonly<Record<string, ChargeMade["channel"]>> = { INFO: "info", BYE: "bye", MESSAGE: "message" };
