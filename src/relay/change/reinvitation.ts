import { SESSION_HEADER } from "../../charging/charges/header-names.ts";
import type { SipRequest, SipResponse } from "../../sip/message.ts";
import type { ClientTransaction, ClientTransactionUser } from "../../transaction/types.ts";
import { meansGone } from "../dialog/outcomes.ts";
import { ALLOW } from "../dialog/passing.ts";
import { takeRest } from "../leg/rest.ts";
import { askForTimer, takeMinimum, takeTimer } from "../leg/session-timer.ts";
import { withdrawalsOf } from "../leg/withdrawals.ts";
import { hearing } from "../media/gate.ts";
import type { LegPort as Leg, SessionPort as Session } from "../model/core.ts";
import type { Withdrawn } from "../model/ports.ts";
import { addServiceHeaders } from "../request/service-headers.ts";
import { confirms, UNCONFIRMED } from "../session/confirmation.ts";
import { Ringing } from "../session/ringing.ts";

/**
 * The client's re-INVITE or UPDATE that asks the present app server for another service (M20). It does what an
 * invitation does for a new session, but within the existing dialog. Turns the answers into events of the part that is
 * asked for.
 */
export class Reinvitation implements ClientTransactionUser {
  /** The answer with which the app server refused; the client's answer is made of it. */
  refusal: SipResponse | undefined;
  private readonly second: Session;
  private readonly first: Session;
  private readonly leg: Leg;
  private readonly original: SipRequest;
  seq = 0;
  private transaction: ClientTransaction | undefined;
  private readonly ringing: Ringing;
  private answered = false;
  private closed = false;
  private tries = 1;
  /** The ACK that answers a repeated 2xx. */
  private acknowledged: { readonly from: SipRequest | undefined } | undefined;

  constructor(second: Session, first: Session, original: SipRequest) {
    this.second = second;
    this.first = first;
    this.leg = first.server!;
    // The app server may have changed already. So its answer still counts, and it is told of the withdrawal.
    this.ringing = new Ringing(second, "server", () => second.withdraw(RANG));
    this.original = original;
  }

  start(): void {
    const { second, original } = this;
    const request = this.leg.request(original.method);
    this.seq = this.leg.dialog.localSeq;
    second.core.border.pass(original, request, "server");
    if (!request.headers.has("allow")) request.headers.add("Allow", ALLOW);
    askForTimer(this.leg, request);
    request.headers.add(SESSION_HEADER, second.id);
    addServiceHeaders(request.headers, second.identified);
    this.leg.send(request, hearing(second, "server", request, this), (started) => {
      this.transaction = started;
    });
  }

  cancel(reason?: string): void {
    if (this.original.method === "INVITE")
      this.transaction?.cancel(reason === undefined ? undefined : [["Reason", reason]]);
  }

  withdrawals(): Withdrawn[] {
    return this.closed ? [] : withdrawalsOf(this.transaction, this.leg);
  }

  ack(from: SipRequest | undefined): void {
    if (this.original.method !== "INVITE") return;
    this.acknowledged = { from };
    this.leg.sendAck(this.seq, from && ((ack) => this.second.core.border.pass(from, ack, "server")));
  }

  /** The part that was asked for is over. A 2xx is still acknowledged, whenever it comes (RFC 3261 §13.2.2.4). */
  close(): void {
    this.closed = true;
    this.ringing.stop();
    if (!this.answered) this.cancel();
  }

  /** The dialog is confirmed already, so it is not early. */
  readonly hasEarlyDialog = false;
  openEarlyDialog(): void {}

  provisional(response: SipResponse): void {
    if (!this.answered && this.ringing.hears() && response.status > 100)
      this.second.actor.send({ type: "server.progress", payload: response });
  }

  final(response: SipResponse): void {
    const { second, first, leg } = this;
    this.ringing.stop();
    if (this.answered) {
      if (this.acknowledged) this.ack(this.acknowledged.from); // RFC 3261 §13.2.2.4
      return;
    }
    if (response.status === 422 && !this.closed && takeMinimum(leg, response, this.tries)) {
      this.tries++;
      this.start(); // RFC 4028 §7.3
      return;
    }
    this.answered = true;
    if (!meansGone(response.status)) leg.isThere();
    if (this.closed) {
      if (response.status < 300) this.ack(undefined);
      return;
    }
    if (response.status < 300) {
      leg.refresh(response);
      takeTimer(leg, response, this.original);
      if (confirms(first, second, "server", response)) second.answered(response);
      else {
        this.ack(undefined);
        second.actor.send({ type: "server.failure", failure: UNCONFIRMED });
      }
      return;
    }
    this.refusal = response;
    takeRest(second.core, first.appServer, response);
    this.failed(response.status, second.appServer.id);
    if (meansGone(response.status)) first.lost("server", `answered ${response.status} to ${this.original.method}`);
  }

  timeout(): void {
    this.ringing.stop();
    if (this.closed) return;
    this.second.branch?.because(`no answer to ${this.original.method}`);
    this.failed(this.original.method === "INVITE" ? 408 : 504); // RFC 4320 §4.1: no 408 to anything but INVITE
    this.first.lost("server", `no answer to ${this.original.method}`);
  }

  transportError(reason: string): void {
    this.ringing.stop();
    if (this.closed) return;
    this.second.branch?.because(`it was not reached: ${reason}`);
    this.failed(503);
    if (this.first.server) this.first.probe(this.first.server); // it may come back by another connection
  }

  private failed(status: number, branch?: string): void {
    this.second.actor.send({ type: "server.failure", failure: { status, ...(branch !== undefined && { branch }) } });
  }
}

const RANG = 'SIP;cause=408;text="Rang too long"';
