import { Slab } from "../support/slab.ts";
import type { Timer, TimerOwner } from "../support/timer-queues.ts";
import type { Flow } from "../transport/types.ts";
import { type MachineContext, wayOnRepeat } from "./machine.ts";
import type { TimerName } from "./timers.ts";

/** A slab for last responses alone: each is kept for 64*T1, and would keep everything else in its slab as long. */
const kept = new Slab();

export type NonInviteServerState = "trying" | "proceeding" | "completed" | "terminated";

/** The user of the machine. `trying` sends the layer's own 100 by way of `respond`. */
export interface NonInviteServerUser {
  trying(): void;
}

/**
 * The non-INVITE server transaction (RFC 3261 §17.2.2, figure 8, with RFC 4320). It sees status codes and bytes, not
 * messages.
 */
export class NonInviteServer implements TimerOwner<TimerName> {
  readonly method: string;
  readonly key: string;
  readonly flow: Flow;
  /** By which responses go out. */
  private way: Flow;
  mergeKey: string | undefined;
  /** The client goes on repeating its request (RFC 3261 §17.1.2.2). */
  readonly told = false;
  localTag: string | undefined;
  state: NonInviteServerState = "trying";
  private readonly context: MachineContext;
  private user: NonInviteServerUser | undefined;
  private lastResponse: Buffer | undefined;
  private timer: Timer | undefined;
  private mayTry = false;

  constructor(context: MachineContext, method: string, key: string, flow: Flow) {
    this.context = context;
    this.method = method;
    this.key = key;
    this.flow = this.way = flow;
    this.mayTry = flow.reliable;
  }

  /** Enters `trying`. */
  start(user: NonInviteServerUser): void {
    this.user = user;
    this.timer = this.context.timers.start(this, "trying", this.context.durations.timerEAtT2Ms);
  }

  /**
   * Whether a response of that status may be sent. 100 is the only provisional response that may be. Over an unreliable
   * transport it may not go out before the client's Timer E has reached T2 (RFC 4320 §4.1).
   */
  takes(status: number): boolean {
    if (this.state === "completed" || this.state === "terminated") return false;
    return status >= 200 || (status === 100 && this.mayTry);
  }

  /** A response from the TU, serialized. */
  respond(status: number, bytes: Buffer): void {
    if (!this.takes(status)) return;
    if (status < 200) {
      this.state = "proceeding";
      this.lastResponse = bytes;
      this.way.send(bytes);
      return;
    }
    // RFC 4320 §4.2: a 408 would come too late to be of use, so it is never sent. Repeated requests are still absorbed.
    const sent = status !== 408;
    this.complete(sent ? bytes : undefined);
    if (sent) this.way.send(bytes);
  }

  /** The request came again. */
  retransmitted(flow: Flow): void {
    this.way = wayOnRepeat(this.way, flow);
    // RFC 3261 §17.2.2: a repeated request is dropped in `trying`. In `proceeding` and `completed` it gets the last
    // response again.
    if (this.lastResponse) this.way.send(this.lastResponse);
  }

  /**
   * The connection is gone. The state does not change (RFC 6026 §7.1), and a response is tried on a new connection (RFC
   * 3261 §18.2.2).
   */
  flowFailed(_reason: string): void {}

  timerFired(name: TimerName): void {
    switch (name) {
      case "trying": {
        const { timers, durations } = this.context;
        // After 64*T1 the client has given up, and a response would match nothing there (RFC 4320 §4.2). So the
        // transaction ends, whatever the TU does.
        this.timer = timers.start(this, "unanswered", durations.giveUpMs);
        this.mayTry = true;
        if (this.state === "trying") this.user?.trying();
        return;
      }
      case "unanswered":
      case "J":
        this.terminate();
        return;
      default:
    }
  }

  private complete(bytes: Buffer | undefined): void {
    const { timers, durations } = this.context;
    timers.stop(this.timer);
    this.user = this.timer = undefined;
    if (this.flow.reliable) {
      this.terminate(); // RFC 3261 §17.2.2: Timer J is zero.
      return;
    }
    this.state = "completed";
    this.lastResponse = bytes && kept.copy(bytes);
    this.context.settled(this);
    timers.startForGood(this, "J", durations.giveUpMs);
  }

  private terminate(): void {
    if (this.state === "terminated") return;
    this.context.timers.stop(this.timer);
    this.state = "terminated";
    this.lastResponse = this.user = this.timer = undefined;
    this.context.terminated(this);
  }
}
