import type { SipRequest } from "../sip/message.ts";
import type { Timer, TimerOwner } from "../support/timer-queues.ts";
import type { Flow } from "../transport/types.ts";
import { type MachineContext, UNBOUNDED, wayOnRepeat } from "./machine.ts";
import type { TimerName } from "./timers.ts";
import type { ServerTransaction } from "./types.ts";

/** What the machine tells its user until a 2xx was sent or the ACK of an error has come. */
export type InviteServerUser = Pick<ServerTransaction, "onCancel" | "onAck" | "onFlowFailed"> & {
  /** Sends the layer's own 100 by way of `respond`. */
  trying(): void;
};

export type InviteServerState = "proceeding" | "completed" | "accepted" | "confirmed" | "terminated";

/**
 * The INVITE server transaction (RFC 3261 §17.2.1, figure 7 as replaced by RFC 6026 §8.6). It sees status codes and
 * bytes, not messages, and drops what it no longer needs. For most of its life, up to 64*T1, it only absorbs repeated
 * requests.
 */
export class InviteServer implements TimerOwner<TimerName> {
  readonly method = "INVITE";
  readonly key: string;
  readonly flow: Flow;
  /** By which responses go out. */
  private way: Flow;
  /**
   * The key by which later copies of this request are found to be merged (RFC 3261 §8.2.2.2); undefined inside a
   * dialog.
   */
  mergeKey: string | undefined;
  state: InviteServerState = "proceeding";
  /**
   * The To tag of the last response. The 200 to a CANCEL uses it too (RFC 3261 §9.2), and an ACK of RFC 2543 is matched
   * by it.
   */
  localTag: string | undefined;
  private readonly context: MachineContext;
  private user: InviteServerUser | undefined;
  private lastResponse: Buffer | undefined;
  private intervalMs = 0;
  private repeatsLeft: number;
  private retransmitTimer: Timer | undefined;
  private endTimer: Timer | undefined;

  constructor(context: MachineContext, key: string, flow: Flow, repeats = UNBOUNDED) {
    this.context = context;
    this.repeatsLeft = repeats;
    this.key = key;
    this.flow = this.way = flow;
  }

  /** Enters `proceeding`. */
  start(user: InviteServerUser): void {
    this.user = user;
    const { timers, durations } = this.context;
    if (durations.tryingMs > 0) this.endTimer = timers.start(this, "trying", durations.tryingMs);
    else user.trying();
  }

  /** A provisional response has gone out, and no final one. */
  get told(): boolean {
    return this.state === "proceeding" && this.lastResponse !== undefined;
  }

  /** Whether a response of that status may still be sent; any other is dropped (RFC 3261 §17.2.1, RFC 6026 §7.1). */
  takes(status: number): boolean {
    if (this.state === "proceeding") return true;
    return this.state === "accepted" && status >= 200 && status < 300;
  }

  /** A response from the TU, serialized. */
  respond(status: number, bytes: Buffer): void {
    if (!this.takes(status)) return;
    if (this.state === "proceeding") {
      this.context.timers.stop(this.endTimer);
      if (status < 200) this.lastResponse = bytes;
      else if (status < 300) this.accept();
      else this.complete(bytes);
    }
    this.way.send(bytes);
  }

  /** The INVITE came again. */
  retransmitted(flow: Flow): void {
    this.way = wayOnRepeat(this.way, flow);
    switch (this.state) {
      case "proceeding":
      case "completed":
        // RFC 3261 §17.2.1: the most recent provisional, or the final response.
        if (this.lastResponse) this.way.send(this.lastResponse);
        return;
      default: // RFC 6026 §7.1: absorbed in `accepted`. In `confirmed` the ACK has come already.
    }
  }

  /** An ACK that matches this INVITE. False: it acknowledges a 2xx, so it goes to the TU (RFC 6026 §7.1). */
  acknowledged(ack: SipRequest): boolean {
    if (this.state === "accepted") return false;
    if (this.state === "completed") {
      const user = this.user;
      this.confirm();
      user?.onAck?.(ack);
    }
    return true;
  }

  /** A CANCEL that matches this INVITE. It has no effect after a final response (RFC 3261 §9.2). */
  cancelled(cancel: SipRequest): void {
    if (this.state === "proceeding") this.user?.onCancel?.(cancel);
  }

  /** The connection is gone. The TU is told, but the state does not change (RFC 6026 §7.1). */
  flowFailed(reason: string): void {
    if (this.state === "proceeding") this.user?.onFlowFailed?.(reason);
  }

  timerFired(name: TimerName): void {
    switch (name) {
      case "trying":
        if (this.state === "proceeding") this.user?.trying();
        return;
      case "G":
        this.repeat();
        return;
      case "H": {
        // RFC 3261 §17.2.1: the ACK never came, and the TU must know it.
        const user = this.user;
        this.terminate();
        user?.onAck?.(undefined);
        return;
      }
      case "I":
      case "L":
        this.terminate();
        return;
      default:
    }
  }

  private accept(): void {
    this.state = "accepted";
    this.lastResponse = this.user = this.endTimer = undefined;
    this.context.settled(this);
    // RFC 6026 §8.7: 64*T1 for all transports.
    this.context.timers.startForGood(this, "L", this.context.durations.giveUpMs);
  }

  private complete(bytes: Buffer): void {
    const { timers, durations } = this.context;
    this.state = "completed";
    this.lastResponse = bytes;
    this.context.settled(this);
    if (!this.flow.reliable) {
      this.intervalMs = durations.t1Ms;
      this.retransmitTimer = timers.start(this, "G", this.intervalMs);
    }
    this.endTimer = timers.start(this, "H", durations.giveUpMs);
  }

  private repeat(): void {
    if (this.state !== "completed" || !this.lastResponse || this.repeatsLeft-- <= 0) return;
    const { timers, durations } = this.context;
    this.intervalMs = Math.min(2 * this.intervalMs, durations.t2Ms);
    this.retransmitTimer = timers.start(this, "G", this.intervalMs);
    this.way.send(this.lastResponse);
  }

  private confirm(): void {
    const { timers, durations } = this.context;
    timers.stop(this.retransmitTimer);
    timers.stop(this.endTimer);
    if (this.flow.reliable) {
      this.terminate(); // RFC 3261 §17.2.1: Timer I is zero.
      return;
    }
    this.state = "confirmed";
    this.lastResponse = this.user = this.retransmitTimer = this.endTimer = undefined;
    timers.startForGood(this, "I", durations.t4Ms);
  }

  private terminate(): void {
    if (this.state === "terminated") return;
    const { timers } = this.context;
    timers.stop(this.retransmitTimer);
    timers.stop(this.endTimer);
    this.state = "terminated";
    this.lastResponse = this.user = this.retransmitTimer = this.endTimer = undefined;
    this.context.terminated(this);
  }
}
