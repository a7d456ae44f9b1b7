import type { SipRequest, SipResponse } from "../sip/message.ts";
import type { Timer, TimerOwner } from "../support/timer-queues.ts";
import type { Destination, Flow } from "../transport/types.ts";
import { type ClientContext, UNBOUNDED } from "./machine.ts";
import type { TimerName } from "./timers.ts";
import type { ClientTransaction, ClientTransactionUser, Released } from "./types.ts";

export type NonInviteClientState = "trying" | "proceeding" | "completed" | "terminated";

/**
 * The non-INVITE client transaction (RFC 3261 §17.1.2, figure 6). A CANCEL has such a transaction too, without a user.
 */
export class NonInviteClient implements ClientTransaction, TimerOwner<TimerName> {
  readonly method: string;
  readonly branch: string;
  flow: Flow;
  state: NonInviteClientState = "trying";
  private readonly context: ClientContext;
  private readonly destination: Destination | undefined;
  private user: ClientTransactionUser | undefined;
  private request: SipRequest | undefined;
  private bytes: Buffer | undefined;
  private intervalMs = 0;
  private repeatsLeft: number;
  private readonly within: Released | undefined;
  private retransmitTimer: Timer | undefined;
  private endTimer: Timer | undefined;

  /** `destination` is undefined for a CANCEL, which goes where its INVITE went and nowhere else. */
  constructor(
    context: ClientContext,
    request: SipRequest,
    destination: Destination | undefined,
    branch: string,
    sent: { flow: Flow; bytes: Buffer },
    user: ClientTransactionUser | undefined,
    repeats = UNBOUNDED,
    within?: Released,
  ) {
    this.context = context;
    this.within = within;
    this.repeatsLeft = repeats;
    this.method = request.method;
    this.request = request;
    this.destination = destination;
    this.branch = branch;
    this.flow = sent.flow;
    this.bytes = sent.bytes;
    this.user = user;
  }

  /** Enters `trying`: the request was sent. */
  start(): void {
    if (!this.flow.reliable) this.startTimerE();
    this.endTimer = this.context.timers.start(this, "F", this.context.durations.giveUpMs);
  }

  /** A response with our branch and CSeq method (RFC 3261 §17.1.3). */
  received(response: SipResponse): void {
    if (this.state !== "trying" && this.state !== "proceeding") return; // Absorbed until Timer K.
    if (response.status < 200) {
      this.state = "proceeding";
      this.user?.provisional?.(response);
      return;
    }
    const user = this.user;
    this.complete();
    user?.final(response);
  }

  /** RFC 3261 §9.1: requests other than INVITE are not cancelled. */
  cancel(): void {}

  abandon(): void {
    this.user = undefined;
  }

  flowFailed(reason: string): void {
    if (this.state !== "trying" && this.state !== "proceeding") return;
    const { destination, request } = this;
    if (this.state === "trying" && destination?.transport === "udp" && this.flow.connectFailed && request) {
      // RFC 3261 §18.1.1: the request went by TCP because of its size, but the peer has no TCP.
      const sent = this.context.resend(this, request, destination, this.branch);
      this.flow = sent.flow;
      this.bytes = sent.bytes;
      if (!this.flow.reliable) this.startTimerE();
      return;
    }
    const user = this.user;
    this.terminate();
    user?.transportError(reason);
  }

  timerFired(name: TimerName): void {
    const { timers, durations } = this.context;
    switch (name) {
      case "E":
        if ((this.state !== "trying" && this.state !== "proceeding") || !this.bytes || this.repeatsLeft-- <= 0) return;
        if (this.within?.released) return;
        // RFC 3261 §17.1.2.2: the interval doubles up to T2; after a provisional response it is T2 at once.
        this.intervalMs = this.state === "proceeding" ? durations.t2Ms : Math.min(2 * this.intervalMs, durations.t2Ms);
        this.retransmitTimer = timers.start(this, "E", this.intervalMs);
        this.flow.send(this.bytes);
        return;
      case "F": {
        const user = this.user;
        this.terminate();
        user?.timeout();
        return;
      }
      case "K":
        this.terminate();
        return;
      default:
    }
  }

  private startTimerE(): void {
    this.intervalMs = Math.min(this.context.durations.t1Ms, this.context.durations.t2Ms);
    this.retransmitTimer = this.context.timers.start(this, "E", this.intervalMs);
  }

  private complete(): void {
    this.stopTimers();
    this.user = this.request = this.bytes = undefined;
    if (this.flow.reliable) {
      this.terminate(); // RFC 3261 §17.1.2.2: Timer K is zero.
      return;
    }
    this.state = "completed";
    this.context.settled(this);
    this.context.timers.startForGood(this, "K", this.context.durations.t4Ms);
  }

  private stopTimers(): void {
    this.context.timers.stop(this.retransmitTimer);
    this.context.timers.stop(this.endTimer);
    this.retransmitTimer = this.endTimer = undefined;
  }

  private terminate(): void {
    if (this.state === "terminated") return;
    this.stopTimers();
    this.state = "terminated";
    this.user = this.request = this.bytes = undefined;
    this.context.terminated(this);
  }
}
