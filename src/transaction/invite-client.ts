import type { SipRequest, SipResponse } from "../sip/message.ts";
import { serialize } from "../sip/serialize.ts";
import type { Timer, TimerOwner } from "../support/timer-queues.ts";
import type { Destination, Flow } from "../transport/types.ts";
import { type ClientContext, UNBOUNDED } from "./machine.ts";
import { ackFor, cancelFor } from "./requests.ts";
import type { TimerName } from "./timers.ts";
import type { ClientTransaction, ClientTransactionUser, Released, Withdrawal } from "./types.ts";

export type InviteClientState = "calling" | "proceeding" | "completed" | "accepted" | "terminated";

/**
 * The INVITE client transaction (RFC 3261 §17.1.1, figure 5 as replaced by RFC 6026 §8.4). After a final response it
 * drops the request. For up to 64*T1 it keeps only what it needs to recognize repeated responses.
 */
export class InviteClient implements ClientTransaction, TimerOwner<TimerName> {
  readonly method = "INVITE";
  readonly branch: string;
  readonly destination: Destination;
  flow: Flow;
  state: InviteClientState = "calling";
  private readonly context: ClientContext;
  private user: ClientTransactionUser | undefined;
  /** The To tag of the user's dialog, as given to `abandon`. */
  private dialog: string | undefined;
  private request: SipRequest | undefined;
  /** The INVITE while it may have to be sent again, then the ACK. */
  private bytes: Buffer | undefined;
  private intervalMs = 0;
  private repeatsLeft: number;
  private readonly within: Released | undefined;
  private retransmitTimer: Timer | undefined;
  private endTimer: Timer | undefined;
  private cancelHeaders: readonly [name: string, value: string][] | undefined;
  private cancelState: "none" | "wanted" | "sent" = "none";

  constructor(
    context: ClientContext,
    request: SipRequest,
    destination: Destination,
    branch: string,
    sent: { flow: Flow; bytes: Buffer },
    user: ClientTransactionUser,
    repeats = UNBOUNDED,
    within?: Released,
  ) {
    this.context = context;
    this.within = within;
    this.repeatsLeft = repeats;
    this.request = request;
    this.destination = destination;
    this.branch = branch;
    this.flow = sent.flow;
    this.bytes = sent.bytes;
    this.user = user;
  }

  /** Enters `calling`: the request was sent. */
  start(): void {
    const { timers, durations } = this.context;
    if (!this.flow.reliable) this.startTimerA();
    this.endTimer = timers.start(this, "B", durations.giveUpMs);
  }

  /** A response with our branch and CSeq method INVITE (RFC 3261 §17.1.3). */
  received(response: SipResponse): void {
    const { status } = response;
    switch (this.state) {
      case "calling":
      case "proceeding":
        if (status < 200) this.proceed(response);
        else if (status < 300) this.accept(response);
        else this.complete(response);
        return;
      case "completed":
        // RFC 6026 §8.4: the ACK again, and nothing to the TU.
        if (status >= 300 && this.bytes) this.flow.send(this.bytes);
        return;
      case "accepted":
        // RFC 6026 §7.2: a 2xx again, or one from another branch of a fork. Errors after a 2xx are dropped.
        if (status >= 200 && status < 300) this.succeed(response);
        return;
      case "terminated":
    }
  }

  /** CANCEL, now or after the first provisional response (RFC 3261 §9.1). */
  cancel(headers?: readonly [name: string, value: string][]): void {
    if (this.cancelState !== "none" || (this.state !== "calling" && this.state !== "proceeding")) return;
    this.cancelState = "wanted";
    this.cancelHeaders = headers;
    if (this.state === "proceeding") this.sendCancel();
  }

  withdrawal(): Withdrawal | undefined {
    if (!this.request || this.state !== "proceeding" || this.cancelState === "sent") return undefined;
    return { cancel: cancelFor(this.request, undefined), flow: this.flow };
  }

  /**
   * Tells its user nothing more. Even if it was never cancelled, an abandoned transaction ends after 64*T1 (decision
   * 14).
   */
  abandon(dialog?: string): void {
    this.user = undefined;
    this.dialog = dialog;
    this.endIfAbandoned();
  }

  flowFailed(reason: string): void {
    if (this.state !== "calling" && this.state !== "proceeding") return;
    if (this.state === "calling" && this.destination.transport === "udp" && this.flow.connectFailed && this.request) {
      this.tryUdp(this.request);
      return;
    }
    const user = this.user;
    this.terminate();
    user?.transportError(reason);
  }

  timerFired(name: TimerName): void {
    switch (name) {
      case "A":
        if (this.state !== "calling" || !this.bytes || this.repeatsLeft-- <= 0) return;
        if (this.within?.released) return;
        this.intervalMs *= 2; // RFC 3261 §17.1.1.2: doubles without a cap.
        this.retransmitTimer = this.context.timers.start(this, "A", this.intervalMs);
        this.flow.send(this.bytes);
        return;
      case "B": // RFC 3261 §17.1.1.2: no response at all.
      case "cancelled": {
        // RFC 3261 §9.1: the CANCEL was sent 64*T1 ago, and still there is no final response.
        const user = this.user;
        this.terminate();
        user?.timeout();
        return;
      }
      case "D":
      case "M":
        this.terminate();
        return;
      default:
    }
  }

  private startTimerA(): void {
    this.intervalMs = this.context.durations.t1Ms;
    this.retransmitTimer = this.context.timers.start(this, "A", this.intervalMs);
  }

  private stopTimers(): void {
    this.context.timers.stop(this.retransmitTimer);
    this.context.timers.stop(this.endTimer);
    this.retransmitTimer = this.endTimer = undefined;
  }

  private proceed(response: SipResponse): void {
    if (this.state === "calling") {
      this.state = "proceeding";
      this.stopTimers();
      this.bytes = undefined; // RFC 3261 §17.1.1.2: not sent again in `proceeding`.
    }
    if (this.cancelState === "wanted") this.sendCancel();
    this.endIfAbandoned();
    this.user?.provisional?.(response);
  }

  private accept(response: SipResponse): void {
    this.state = "accepted";
    this.settle();
    this.context.timers.startForGood(this, "M", this.context.durations.giveUpMs);
    this.succeed(response);
  }

  private succeed(response: SipResponse): void {
    if (this.user) this.user.final(response);
    else this.context.unwanted(response, this.flow, this.dialog === undefined || response.toTag !== this.dialog);
  }

  private complete(response: SipResponse): void {
    this.state = "completed";
    const ack = this.request && serialize(ackFor(this.request, response));
    const user = this.user;
    this.settle();
    this.user = undefined;
    if (ack) this.flow.send(ack);
    if (this.flow.reliable)
      this.terminate(); // RFC 6026 §8.4: Timer D is zero.
    else {
      this.bytes = ack;
      this.context.timers.startForGood(this, "D", this.context.durations.timerDMs);
    }
    user?.final(response);
  }

  /** A final response is there: what was kept for retransmissions can go. */
  private settle(): void {
    this.stopTimers();
    this.request = this.bytes = this.cancelHeaders = undefined;
    this.context.settled(this);
  }

  private endIfAbandoned(): void {
    if (this.state !== "proceeding" || this.user || this.endTimer) return;
    this.endTimer = this.context.timers.start(this, "cancelled", this.context.durations.giveUpMs);
  }

  private sendCancel(): void {
    if (!this.request) return;
    this.cancelState = "sent";
    this.context.timers.stop(this.endTimer);
    this.endTimer = this.context.timers.start(this, "cancelled", this.context.durations.giveUpMs);
    this.context.sendCancel(cancelFor(this.request, this.cancelHeaders), this.branch, this.flow, this.repeatsLeft);
    this.cancelHeaders = undefined;
  }

  /**
   * The request went by TCP because of its size, but the peer has no TCP. So it goes by UDP after all (RFC 3261
   * §18.1.1).
   */
  private tryUdp(request: SipRequest): void {
    const sent = this.context.resend(this, request, this.destination, this.branch);
    this.flow = sent.flow;
    this.bytes = sent.bytes;
    if (!this.flow.reliable) this.startTimerA();
  }

  private terminate(): void {
    if (this.state === "terminated") return;
    this.stopTimers();
    this.state = "terminated";
    this.user = this.request = this.bytes = this.cancelHeaders = undefined;
    this.context.terminated(this);
  }
}
