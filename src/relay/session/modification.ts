import { otherSide, type Side } from "../../../machines/events.ts";
import { SERVICE_HEADER, SESSION_HEADER } from "../../charging/charges/header-names.ts";
import type { SipRequest, SipResponse } from "../../sip/message.ts";
import type { ClientTransaction, ClientTransactionUser, ServerTransaction } from "../../transaction/types.ts";
import { meansGone } from "../dialog/outcomes.ts";
import { ALLOW } from "../dialog/passing.ts";
import { reply } from "../dialog/reply.ts";
import { refusalOrAnswer, withoutRest } from "../leg/refusals.ts";
import { takeRest } from "../leg/rest.ts";
import { answerTimer, askForTimer, takeMinimum, takeTimer } from "../leg/session-timer.ts";
import { withdrawalsOf } from "../leg/withdrawals.ts";
import { hearing } from "../media/gate.ts";
import type { LegPort as Leg, SessionPort as Session } from "../model/core.ts";
import type { UnderWay, Withdrawn } from "../model/ports.ts";
import { recordOf } from "../model/records.ts";
import { confirms, UNCONFIRMED } from "./confirmation.ts";
import { Ringing } from "./ringing.ts";

/** A change to another service that the app server asks for and the client is to agree on. */
export interface ServiceDecision {
  /** The part that then begins. */
  readonly second: Session;
  /** Called once, with whether both agree. The rest is then not done by `Modification`. */
  readonly decided: (agreed: boolean) => void;
}

/**
 * Passes a re-INVITE or UPDATE on from one end of a session to the other, and the answer back (RFC 3261 §14, RFC 3311):
 * hold and resume, a refresh, or anything else that the two agree on.
 */
export class Modification implements ClientTransactionUser, UnderWay {
  readonly from: Side;
  private readonly session: Session;
  private readonly transaction: ServerTransaction;
  private readonly source: Leg;
  private readonly target: Leg;
  private seq = 0;
  /** How often the target had moved when the request was sent. */
  private readonly moves: number;
  private readonly wanted: ServiceDecision | undefined;
  private readonly ringing: Ringing;
  private towards: ClientTransaction | undefined;
  /** The other end has answered an INVITE with a 2xx. */
  private accepted = false;
  private answered = false;
  /** How often it was sent, since the interval of its session timer was too small. */
  private tries = 1;
  /** What is kept of the session says so. */
  private waitedFor = false;
  /** The session is over. Nobody waits for the answer any more, but it still has to be acknowledged. */
  private aborted = false;
  /** The ACK that answers a repeated 2xx; null: one without a body. */
  private acknowledged: SipRequest | null | undefined;

  /** Passes the request on. Until it is decided, it is the session's `change`. */
  static begin(session: Session, from: Side, transaction: ServerTransaction, wanted?: ServiceDecision): void {
    const modification = new Modification(session, from, transaction, wanted);
    session.beginChange(modification);
    modification.start();
  }

  private constructor(session: Session, from: Side, transaction: ServerTransaction, wanted?: ServiceDecision) {
    this.session = session;
    this.wanted = wanted;
    this.from = from;
    this.transaction = transaction;
    this.source = session.leg(from)!;
    this.target = session.leg(otherSide(from))!;
    this.ringing = new Ringing(session, this.target.side, () => this.towards?.cancel());
    this.moves = this.target.moves;
  }

  private start(): void {
    const { session, transaction, wanted } = this;
    const request = this.target.request(transaction.request.method);
    this.seq = this.target.dialog.localSeq;
    session.charges.passOn(transaction.request, request, this.target.side);
    if (!request.headers.has("allow")) request.headers.add("Allow", ALLOW);
    askForTimer(this.target, request);
    if (wanted) request.headers.add(SERVICE_HEADER, wanted.second.service.id);
    transaction.onCancel = () => this.towards?.cancel();
    transaction.onTrying = () => this.isWaitedFor();
    this.target.send(request, hearing(session, this.target.side, request, this), (started) => {
      this.towards = started;
      if (this.aborted) started.cancel();
    });
  }

  get waits(): ServerTransaction {
    return this.transaction;
  }

  withdrawals(): Withdrawn[] {
    return this.answered ? [] : withdrawalsOf(this.towards, this.target);
  }

  provisional(response: SipResponse): void {
    if (this.answered || !this.ringing.hears()) return;
    if (response.status > 100) this.transaction.respond(this.relayed(response));
    if (this.transaction.told) this.isWaitedFor();
  }

  /** If the process ended now, somebody would wait for ever. */
  private isWaitedFor(): void {
    this.waitedFor = true;
    this.session.core.kept?.changed(this.session);
  }

  final(response: SipResponse): void {
    const success = response.status < 300;
    this.ringing.stop();
    if (this.answered) {
      // A repeated answer: its ACK was lost, or has not come from the other end yet (RFC 3261 §13.2.2.4). Or a 2xx that
      // comes after BYE (RFC 5407 §3.2.3).
      if (success && this.aborted) this.acknowledged ??= null;
      if (success && this.acknowledged !== undefined) this.ack(this.acknowledged);
      return;
    }
    if (response.status === 422 && !this.aborted && takeMinimum(this.target, response, this.tries)) {
      this.tries++;
      this.start(); // RFC 4028 §7.3: the interval is the relay's, and so is the other try
      return;
    }
    this.answered = true;
    if (!meansGone(response.status)) this.target.isThere();
    if (this.target.side === "server") takeRest(this.session.core, this.session.appServer, response);
    const { wanted, session } = this;
    if (success && wanted && !confirms(session, wanted.second, this.target.side, response)) {
      this.unconfirmed(response);
      return;
    }
    if (success && this.transaction.request.method === "INVITE") this.accepted = true;
    if (success) {
      this.source.moveTo(this.transaction);
      this.target.refresh(response);
      takeTimer(this.target, response, this.transaction.request);
    }
    if (success && this.transaction.request.method === "INVITE") {
      this.source.answerUntilAck(this.transaction, this.relayed(response), {
        acknowledged: (ack) => {
          if (this.acknowledged === undefined) this.ack(ack);
          this.done(true);
        },
        silent: () => this.session.end({ code: "no-ack-to-change" }),
      });
      return;
    }
    this.transaction.respond(this.relayed(response));
    this.done(success);
    if (meansGone(response.status)) this.lost(`answered ${response.status} to ${this.transaction.request.method}`);
  }

  /** The other end has said 2xx without naming the service. The 2xx is acknowledged, and nothing changes. */
  private unconfirmed(response: SipResponse): void {
    this.target.refresh(response);
    takeTimer(this.target, response, undefined);
    if (this.transaction.request.method === "INVITE") this.ack(null);
    reply(this.transaction, UNCONFIRMED.status, [], UNCONFIRMED.reason);
    this.done();
  }

  timeout(): void {
    this.ringing.stop();
    this.fail(this.transaction.request.method === "INVITE" ? 408 : 504); // RFC 4320 §4.1: no 408 to anything but INVITE
    this.lost(`no answer to ${this.transaction.request.method}`);
  }

  transportError(): void {
    this.ringing.stop();
    this.fail(500); // RFC 3261 §16.9, §16.7 step 6: it is not the relay that cannot be reached
    // Whether it comes back by another connection is found out as ever.
    if (this.target.moves === this.moves) this.session.probe(this.target);
  }

  /** Not if the peer has moved since: a failure at its old address says nothing about it. */
  private lost(why: string): void {
    if (this.target.moves === this.moves) this.session.lost(this.target.side, why);
  }

  /**
   * The session ends while the change is under way (RFC 3261 §15.1.2). A 2xx to the end that asked is still repeated
   * until its ACK. The other end gets its ACK now, since BYE follows.
   */
  abort(): void {
    this.aborted = true;
    this.ringing.stop();
    if (this.accepted && this.acknowledged === undefined) this.ack(null);
    else if (!this.answered) this.towards?.cancel(); // so that the INVITE ends, whatever the other end makes of the BYE
    this.fail(487);
  }

  private fail(status: number): void {
    this.answered = true;
    if (!this.transaction.answered) reply(this.transaction, status);
    this.done();
  }

  private done(agreed = false): void {
    if (this.session.change !== this) return;
    this.session.endChange(this);
    if (this.waitedFor) this.session.core.kept?.changed(this.session);
    this.wanted?.decided(agreed);
    if (!agreed || !this.wanted) this.session.actor.send({ type: "change.done" });
  }

  private ack(ack: SipRequest | null): void {
    if (this.transaction.request.method !== "INVITE") return;
    this.acknowledged = ack;
    this.target.sendAck(
      this.seq,
      ack ? (relayed) => this.session.charges.passOn(ack, relayed, this.target.side) : undefined,
    );
  }

  /** The other end's answer as this end gets it: with the relay's Contact, and no charges. */
  private relayed(response: SipResponse): SipResponse {
    const { border } = this.session.core;
    recordOf(this.transaction)?.passesOn();
    const relayed = refusalOrAnswer(border, response, this.from);
    if (relayed.status < 300) relayed.headers.add("Contact", this.source.dialog.contact);
    // The app server needs the new part's id for charges outside of the dialog (M15, M17).
    const second = response.status < 300 ? this.wanted?.second : undefined;
    if (second) relayed.headers.add(SERVICE_HEADER, second.service.id).add(SESSION_HEADER, second.id);
    this.session.charges.passOn(response, relayed, this.from);
    withoutRest(response, relayed);
    if (relayed.status >= 200 && relayed.status < 300) {
      border.addAbilities(relayed.headers, this.from);
      answerTimer(this.source, this.transaction.request, relayed);
    }
    return relayed;
  }
}
