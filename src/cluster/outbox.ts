import type { Bus } from "../bus/types.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { NodeRun } from "./beat.ts";
import { acksTopic, copiesTopic, headOf, readAck } from "./frames.ts";

/** Lines are gathered for so long, so that many sessions share a frame. After a pause a line does not wait. */
const GATHER_MS = 5;
/** A frame that would become longer than this is sent first. Most sessions take 2 kB. */
const FRAME_CHARS = 100_000;
/** A frame without an answer counts as lost after so long. */
const LOST_MS = 1_000;
/**
 * Whoever waits for a line's arrival waits at most so long. Then the call goes on without. Until then a standby that
 * has died is known to be dead, and a node that is cut off knows that, too: it tells no client of a session that no
 * other node knows.
 */
const WAIT_MS = 500;
/** While nothing may be sent, it is looked at again after so long. */
const MUTED_MS = 20;

/** What a line stands for. One of these is called, unless the outbox is stopped. */
export interface Parcel {
  /** The other node has it. */
  arrived?(): void;
  /** That node has not answered, or is gone. */
  lost(to: string): void;
}

/** Lines for one node, sent together and answered for together. */
interface Frame {
  readonly number: number;
  readonly to: string;
  text: string;
  readonly parcels: Parcel[];
  /** Who waits until it has arrived. */
  readonly waiting: (() => void)[];
  sentAt: number;
  timer: TimerHandle;
}

/**
 * Sends lines to other nodes in frames, and hears which of them have arrived. Nothing is sent twice here: whoever gave
 * a line hears that it was lost, and gives it again as it is then.
 */
export class Outbox {
  private readonly self: NodeRun;
  private readonly bus: Pick<Bus, "tell" | "hear">;
  private readonly clock: Clock;
  /** Asked for lines to write, right before frames are sent. */
  private readonly fill: () => void;
  /** What each frame to that node begins with. */
  private readonly opening: (to: string) => string;
  private readonly mutes: () => boolean;
  private readonly drafts = new Map<string, Frame>();
  private readonly sent = new Map<number, Frame>();
  private number = 0;
  /** Frames are sent at the end of this turn anyway. */
  private posting = false;
  private postedAt = Number.NEGATIVE_INFINITY;
  private timer: TimerHandle;
  private lostTimer: TimerHandle;
  private deafen: (() => void) | undefined;
  private lastLagMs = 0;
  /** How often somebody who waited went on before the line had arrived. */
  late = 0;

  constructor(options: {
    readonly self: NodeRun;
    readonly bus: Pick<Bus, "tell" | "hear">;
    readonly clock: Clock;
    readonly fill: () => void;
    readonly opening: (to: string) => string;
    /** Whether nothing may be sent now: other nodes may have the sessions. Default: never. */
    readonly mutes?: (() => boolean) | undefined;
  }) {
    const { self, bus, clock, fill, opening, mutes = () => false } = options;
    this.mutes = mutes;
    this.self = self;
    this.bus = bus;
    this.clock = clock;
    this.fill = fill;
    this.opening = opening;
  }

  get started(): boolean {
    return this.deafen !== undefined;
  }

  /** Whether nothing is to be sent, and nothing on its way. */
  get idle(): boolean {
    return this.drafts.size + this.sent.size === 0;
  }

  start(): void {
    this.deafen = this.bus.hear?.(acksTopic(this.self.node), (text) => this.answered(text));
    this.lookForLost();
  }

  /** Whoever waits goes on. */
  stop(): void {
    this.deafen?.();
    this.deafen = undefined;
    this.clock.clearTimeout(this.timer);
    this.clock.clearTimeout(this.lostTimer);
    this.timer = undefined;
    for (const frame of [...this.drafts.values(), ...this.sent.values()]) this.waitNoLonger(frame);
    this.drafts.clear();
    this.sent.clear();
  }

  /** How long the oldest frame has waited for its answer. With no frame on its way: how long the last answer took. */
  get lagMs(): number {
    const oldest = this.sent.values().next().value;
    return oldest ? this.clock.monotonic() - oldest.sentAt : this.lastLagMs;
  }

  /** Has frames sent a moment later. */
  soon(): void {
    if (this.timer !== undefined || !this.deafen) return;
    const restMs = this.postedAt + GATHER_MS - this.clock.monotonic();
    this.timer = this.clock.setTimeout(() => this.post(), Math.min(GATHER_MS, Math.max(0, restMs)));
  }

  /** Adds a line for that node. Returns the number of its frame. `wait`: called when it has arrived, or soon. */
  add(to: string, line: string, parcel: Parcel | undefined, wait?: readonly (() => void)[]): number {
    let frame = this.drafts.get(to);
    if (frame && frame.text.length + line.length > FRAME_CHARS) {
      this.send(frame);
      frame = undefined;
    }
    if (!frame) {
      const { node, epoch } = this.self;
      const number = ++this.number;
      const text = headOf(node, epoch, number) + this.opening(to);
      frame = { number, to, text, parcels: [], waiting: [], sentAt: 0, timer: undefined };
      this.drafts.set(to, frame);
    }
    frame.text += line;
    if (parcel) frame.parcels.push(parcel);
    if (wait) frame.waiting.push(...wait);
    if (!this.posting) this.soon();
    return frame.number;
  }

  /** A node is gone: what was sent to it is lost. */
  gone(node: string): void {
    const lost = [...this.sent.values(), ...this.drafts.values()].filter(({ to }) => to === node);
    this.drafts.delete(node);
    for (const frame of lost) {
      this.sent.delete(frame.number);
      this.lost(frame);
    }
  }

  private post(): void {
    this.timer = undefined;
    if (this.mutes()) {
      this.timer = this.clock.setTimeout(() => this.post(), MUTED_MS);
      return;
    }
    this.postedAt = this.clock.monotonic();
    this.posting = true;
    this.fill();
    this.posting = false;
    for (const frame of this.drafts.values()) this.send(frame);
  }

  private send(frame: Frame): void {
    const { number, to, text, waiting } = frame;
    this.drafts.delete(to);
    frame.sentAt = this.clock.monotonic();
    this.sent.set(number, frame);
    if (!this.bus.tell?.(copiesTopic(to), text)) this.waitNoLonger(frame);
    else if (waiting.length > 0 && this.sent.has(number))
      frame.timer = this.clock.setTimeout(() => this.waitNoLonger(frame), WAIT_MS);
  }

  private answered(text: string): void {
    const ack = readAck(text);
    const frame = ack && ack.epoch === this.self.epoch ? this.sent.get(ack.number) : undefined;
    if (!ack || !frame || frame.to !== ack.by) return;
    this.sent.delete(ack.number);
    this.lastLagMs = this.clock.monotonic() - frame.sentAt;
    this.clock.clearTimeout(frame.timer);
    for (const goOn of frame.waiting.splice(0)) goOn();
    for (const parcel of frame.parcels) parcel.arrived?.();
  }

  private lookForLost(): void {
    const before = this.clock.monotonic() - LOST_MS;
    for (const frame of this.sent.values()) {
      if (frame.sentAt > before) break; // the later ones are younger
      this.sent.delete(frame.number);
      this.lost(frame);
    }
    this.lostTimer = this.clock.setTimeout(() => this.lookForLost(), LOST_MS / 4);
  }

  private lost(frame: Frame): void {
    this.waitNoLonger(frame);
    for (const parcel of frame.parcels) parcel.lost(frame.to);
  }

  private waitNoLonger({ waiting, timer }: Frame): void {
    this.clock.clearTimeout(timer);
    this.late += waiting.length;
    for (const goOn of waiting.splice(0)) goOn();
  }
}
