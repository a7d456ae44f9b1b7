import { otherSide, type Side } from "../../../machines/events.ts";
import type { SipRequest, SipResponse } from "../../sip/message.ts";
import type { Timer, TimerOwner } from "../../support/timer-queues.ts";
import type { ClientTransactionUser, ServerTransaction } from "../../transaction/types.ts";
import { meansGone } from "../dialog/outcomes.ts";
import { reply } from "../dialog/reply.ts";
import { refusalOrAnswer, withoutRest } from "../leg/refusals.ts";
import { takeRest } from "../leg/rest.ts";
import { hearing } from "../media/gate.ts";
import type { LegPort as Leg, SessionPort as Session } from "../model/core.ts";

/**
 * In units of T1. The sender gets an answer by then, two seconds before it would give up by itself (RFC 3261 §17.1.2.2,
 * timer F).
 */
const ANSWER_BY = 60;

/**
 * Passes any other request inside the session on to the other end, and its answer back (INFO, MESSAGE, OPTIONS,
 * NOTIFY, PRACK).
 */
export function relayMessage(
  session: Session,
  from: Side,
  transaction: ServerTransaction,
  fill?: (request: SipRequest) => void,
): void {
  new Relayed(session, from, transaction).send(fill);
}

class Relayed implements ClientTransactionUser, TimerOwner<"late"> {
  private readonly session: Session;
  private readonly from: Side;
  private readonly transaction: ServerTransaction;
  private readonly source: Leg | undefined;
  private readonly target: Leg;
  private readonly moves: number;
  private readonly timer: Timer;

  constructor(session: Session, from: Side, transaction: ServerTransaction) {
    this.session = session;
    this.from = from;
    this.transaction = transaction;
    this.source = session.leg(from);
    this.target = session.leg(otherSide(from))!;
    this.moves = this.target.moves;
    const { timers, config } = session.core;
    this.timer = timers.start(this, "late", ANSWER_BY * config.timers.t1Ms);
  }

  send(fill?: (request: SipRequest) => void): void {
    const { session, transaction, target } = this;
    const request = target.request(transaction.request.method);
    session.charges.passOn(transaction.request, request, target.side);
    fill?.(request);
    target.send(request, hearing(session, target.side, request, this));
  }

  /** A still later answer is not passed on (RFC 4320 §4.2). */
  timerFired(): void {
    reply(this.transaction, 504); // RFC 4320 §4.2: no 408 to anything but INVITE
  }

  final(response: SipResponse): void {
    const { session, from, transaction, target } = this;
    const { method } = transaction.request;
    if (!meansGone(response.status)) target.isThere();
    const inTime = !transaction.answered;
    this.stop();
    const relayed = refusalOrAnswer(session.core.border, response, from);
    session.charges.passOn(response, relayed, from);
    withoutRest(response, relayed);
    if (target.side === "server") takeRest(session.core, session.appServer, response);
    if (method === "OPTIONS" && response.status < 300) session.core.border.addAbilities(relayed.headers, from);
    if (inTime) transaction.respond(relayed);
    if (response.status < 300) this.source?.moveTo(transaction);
    if (meansGone(response.status) && target.moves === this.moves)
      session.lost(target.side, `answered ${response.status} to ${method}`);
  }

  timeout(): void {
    this.stop();
    if (!this.transaction.answered) reply(this.transaction, 504);
  }

  transportError(): void {
    this.stop();
    // RFC 3261 §16.9, §16.7 step 6: not 503, since the relay itself can be reached.
    if (!this.transaction.answered) reply(this.transaction, 500);
  }

  private stop(): void {
    this.session.core.timers.stop(this.timer);
  }
}
