import type { SipMessage } from "../sip/message.ts";
import type { ParseError } from "../sip/parse.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Flow, TransportUser } from "../transport/types.ts";

/** How many messages wait at most while the fence is shut. Peers repeat what is dropped beyond that. */
const MOST_HELD = 20_000;
/** A message that has waited for so long is dropped: whoever sent it has given up (RFC 3261 §17.1: 64 times T1). */
const OLD_MS = 32_000;
/**
 * A new call that has waited for so long is not begun, where its client sends it again anyway (RFC 3261 §17.1.1.2: the
 * time between two of these doubles, so the next one comes after no longer than it has waited already). Meanwhile it
 * may have been refused or served by another node: its app server would ring for nobody.
 */
const OLD_CALL_MS = 500;
/** What comes so soon after the fence shut may have lain in the socket since this node stood still. */
const READ_MS = 200;
/** Bytes that wait to go out by connections while the fence is shut. */
const MOST_UNSENT_BYTES = 16_777_216;

/**
 * Keeps a node from acting for sessions that others may have taken up (P3). It is shut as soon as the others may call
 * this node dead: the process was stopped for a while, its event loop stood still, or it is cut off. Then nothing is
 * sent, and what comes and what is due waits. The node first finds out what was taken from it; when it has let go of
 * that, the fence opens and what waited goes on.
 *
 * Each thing that may act asks the clock itself. So it does not matter what the event loop turns to first when a
 * stopped process goes on.
 */
export class Fence {
  private readonly clock: Clock;
  private readonly log: Logger;
  /** Until when this node may act, by the monotonic clock, if it hears nothing more. */
  private readonly until: () => number;
  private readonly about: () => object;
  private isShut = false;
  /** Nothing is begun any more, but what is under way is brought to its end. */
  private isEnding = false;
  private shutAt = 0;
  /** When it was seen open last: until then this node has not stood still. */
  private openAt: number;
  /** Since when this node may have stood still. */
  private silentSince = 0;
  private held: Held[] = [];
  private messages = 0;
  private unsent: (() => void)[] = [];
  private unsentBytes = 0;
  /** Since the start: how often it was shut, and what was dropped meanwhile. */
  readonly stats = { shut: 0, unsent: 0, dropped: 0 };

  constructor(options: {
    readonly clock: Clock;
    readonly log: Logger;
    readonly until: () => number;
    /** What the log is to say beside why it shuts. */
    readonly about?: () => object;
  }) {
    const { clock, log, until, about = () => ({}) } = options;
    this.about = about;
    this.clock = clock;
    this.log = log;
    this.until = until;
    this.openAt = clock.monotonic();
  }

  /** Whether it is shut already. */
  get shutNow(): boolean {
    return this.isShut;
  }

  /** For how long it has been shut. */
  get shutForMs(): number {
    return this.isShut ? this.clock.monotonic() - this.shutAt : 0;
  }

  /** Whether this node may act now. */
  get open(): boolean {
    if (this.isShut) return false;
    const now = this.clock.monotonic();
    if (now >= this.until()) this.shut();
    else this.openAt = now;
    return !this.isShut;
  }

  /** Whether what comes and what is due may act now. */
  get passes(): boolean {
    return this.open && !this.isEnding;
  }

  /** From now on what comes and what is due waits for ever: this node is about to stop. It may still send. */
  end(): void {
    this.isEnding = true;
  }

  /** This node does not stop after all: what waited goes on. */
  resume(): void {
    this.isEnding = false;
    if (!this.isShut) this.release();
  }

  /** Whether something that is about to be sent must not be. */
  readonly mutes = (): boolean => {
    if (this.open) return false;
    this.stats.unsent++;
    return true;
  };

  /** Shuts it at once. */
  close(): void {
    if (!this.isShut) this.shut();
  }

  /**
   * Does it when the fence opens, if nobody has taken anything up meanwhile. For what was to go out by a connection:
   * unlike a datagram, nobody asks for it again (RFC 3261 §17.1.2.2).
   */
  sendLater(bytes: number, send: () => void): void {
    if (this.unsentBytes + bytes > MOST_UNSENT_BYTES) return;
    this.unsentBytes += bytes;
    this.unsent.push(send);
  }

  /** Opens it: this node has nothing any more that others have. `hasLost`: others have taken something up. */
  reopen(hasLost = false): void {
    if (!this.isShut) return;
    if (hasLost) this.unsent = [];
    this.isShut = false;
    const { unsent } = this.stats;
    const forMs = this.clock.monotonic() - this.shutAt;
    this.log.warn({ forMs, waited: this.held.length, unsent }, "cluster: this node acts again");
    this.release();
  }

  private release(): void {
    const { held, unsent } = this;
    this.unsent = [];
    this.unsentBytes = 0;
    for (const send of unsent) this.contained(send);
    this.held = [];
    this.messages = 0;
    for (const [index, one] of held.entries()) {
      if (!this.passes) {
        for (const rest of held.slice(index)) this.keep(rest);
        return;
      }
      if (this.clock.monotonic() - one.since >= (one.repeats ? OLD_CALL_MS : OLD_MS)) {
        this.stats.dropped++;
        continue;
      }
      this.contained(() => one.act());
    }
  }

  private contained(act: () => void): void {
    try {
      act();
    } catch (err) {
      this.log.error({ err }, "cluster: what had waited failed");
    }
  }

  /** A clock whose timers fire only while the fence is open. */
  clockBehind(): Clock {
    const { clock } = this;
    return {
      wall: () => clock.wall(),
      monotonic: () => clock.monotonic(),
      setTimeout: (fn, delayMs) => new HeldTimer(this, clock, fn, delayMs),
      clearTimeout: (handle: TimerHandle) => (handle as HeldTimer | undefined)?.clear(),
    };
  }

  /** Passes on what comes while the fence is open. */
  before(user: TransportUser): TransportUser {
    return {
      received: (message: SipMessage, flow: Flow) => {
        if (this.passes) user.received(message, flow);
        else this.hold(() => user.received(message, flow), isNewCall(message, flow) ? "call" : "message");
      },
      malformed: (error: ParseError, flow: Flow) => {
        if (this.passes) user.malformed(error, flow);
      },
      flowFailed: (flow: Flow, reason: string) => {
        if (this.passes) user.flowFailed(flow, reason);
        else this.hold(() => user.flowFailed(flow, reason));
      },
    };
  }

  /** Does it when the fence opens. A timer is never dropped, nor that a connection is gone. */
  hold(act: () => void, what?: "message" | "call"): void {
    if (what && this.messages >= MOST_HELD) this.stats.dropped++;
    else this.keep({ act, since: what ? this.cameAt() : Number.POSITIVE_INFINITY, repeats: what === "call" });
  }

  /** Since when what is read now may have waited. */
  private cameAt(): number {
    const now = this.clock.monotonic();
    return now - this.shutAt < READ_MS ? Math.min(now, this.silentSince) : now;
  }

  private keep(one: Held): void {
    if (one.since < Number.POSITIVE_INFINITY) this.messages++;
    this.held.push(one);
  }

  private shut(): void {
    this.isShut = true;
    this.shutAt = this.clock.monotonic();
    this.stats.shut++;
    const until = this.until();
    this.silentSince = Math.max(this.openAt, Math.min(this.shutAt, until));
    if (until === Number.NEGATIVE_INFINITY)
      this.log.info(this.about(), "cluster: this node waits until one that it did not know has heard it");
    else
      this.log.error(
        { lateMs: Math.max(0, this.shutAt - until), ...this.about() },
        "cluster: this node stood still or is cut off: it does nothing until it knows which sessions others have taken up",
      );
  }
}

interface Held {
  act(): void;
  /** Since when it waits; infinite: however long that is. */
  readonly since: number;
  /** A new call whose client sends it again. */
  readonly repeats: boolean;
}

const isNewCall = (message: SipMessage, { reliable }: Flow): boolean =>
  !reliable && message.isRequest && message.method === "INVITE" && message.toTag === undefined;

/** A timer that waits while the fence is shut. */
class HeldTimer {
  private readonly clock: Clock;
  private readonly handle: TimerHandle;
  private fn: (() => void) | undefined;

  constructor(fence: Fence, clock: Clock, fn: () => void, delayMs: number) {
    this.clock = clock;
    this.fn = fn;
    const fire = () => {
      const due = this.fn;
      this.fn = undefined;
      due?.();
    };
    this.handle = clock.setTimeout(() => {
      if (fence.passes) fire();
      else fence.hold(fire);
    }, delayMs);
  }

  clear(): void {
    this.fn = undefined;
    this.clock.clearTimeout(this.handle);
  }
}
