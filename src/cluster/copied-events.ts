import type { ChargingEvent } from "../charging/events/events.ts";
import { idOf } from "../charging/events/events.ts";
import { TokenMap } from "../support/token-map.ts";
import { doneLine, eventLine } from "./frames.ts";
import type { Outbox, Parcel } from "./outbox.ts";

/** The bound of events that wait for the bus. Beyond it, events are on this node's disk alone. */
const MAX_EVENTS = 200_000;

/** The events of one frame that the bus has not taken yet. */
interface Batch {
  readonly frame: number;
  left: number;
}

/** The batches that lie at one standby, in the order of their frames. */
interface Standby {
  readonly batches: Batch[];
  /** All events up to this frame are on the bus. */
  done: number;
  told: number;
}

/**
 * Keeps a copy of each charging event at a standby until the bus has taken the event. If this node is lost with its
 * disk, the standby puts the events on record. An event that comes to the bus twice is billed once, by its id.
 */
export class CopiedEvents {
  private readonly outbox: Outbox;
  private readonly standbyOf: (session: string) => string | undefined;
  private readonly waiting = new TokenMap<Copied>();
  private readonly standbys = new Map<string, Standby>();

  constructor(options: {
    readonly outbox: Outbox;
    /** The node for what belongs to this session; undefined: there is none. */
    readonly standbyOf: (session: string) => string | undefined;
  }) {
    this.outbox = options.outbox;
    this.standbyOf = options.standbyOf;
  }

  /** How many events lie at standbys. */
  get size(): number {
    return this.waiting.size;
  }

  /**
   * Copies an event. Resolves when it is at the standby, or after some milliseconds. Undefined: there is no node, or no
   * bill depends on the event.
   */
  record(event: ChargingEvent): Promise<void> | undefined {
    if (!this.outbox.started || idOf(event) === undefined || this.waiting.size >= MAX_EVENTS) return undefined;
    const to = this.standbyOf(event.session.id);
    if (to === undefined) return undefined;
    const copied = new Copied(this, event);
    this.waiting.set(event.id, copied);
    return new Promise((resolve) => this.send(copied, to, [resolve]));
  }

  /** The bus has taken these events: their copies are of no use any more. */
  published(events: readonly ChargingEvent[]): void {
    for (const { id } of events) {
      const copied = this.waiting.get(id);
      if (!copied) continue;
      this.waiting.delete(id);
      this.leave(copied);
    }
  }

  /** What a frame to that node begins with: which of its events are billed from elsewhere by now. */
  opening(to: string): string {
    const standby = this.standbys.get(to);
    if (!standby || standby.done === standby.told) return "";
    standby.told = standby.done;
    return doneLine(standby.done);
  }

  /** A node is gone, and so are the copies that it had: others are sent. What was on its way to it comes by `lost`. */
  gone(node: string): void {
    const standby = this.standbys.get(node);
    if (!standby) return;
    this.standbys.delete(node);
    for (const copied of this.waiting.values()) if (copied.standby === standby) this.lost(copied);
  }

  /** An event's copy was lost on its way: another is sent, to that node or another, if the bus has not taken it. */
  lost(copied: Copied): void {
    const { event } = copied;
    if (this.waiting.get(event.id) !== copied) return;
    this.leave(copied);
    const to = this.standbyOf(event.session.id);
    if (to === undefined) this.waiting.delete(event.id);
    else this.send(copied, to);
  }

  private send(copied: Copied, to: string, wait?: readonly (() => void)[]): void {
    const frame = this.outbox.add(to, eventLine(copied.event), copied, wait);
    let standby = this.standbys.get(to);
    if (!standby) {
      standby = { batches: [], done: 0, told: 0 };
      this.standbys.set(to, standby);
    }
    let batch = standby.batches.at(-1);
    if (batch?.frame !== frame) {
      batch = { frame, left: 0 };
      standby.batches.push(batch);
    }
    batch.left++;
    copied.batch = batch;
    copied.standby = standby;
  }

  private leave({ batch, standby }: Copied): void {
    if (!batch || !standby) return;
    batch.left--;
    // The last one stays, since its frame may still be open for more.
    const { batches } = standby;
    while (batches.length > 1 && batches[0]!.left === 0) standby.done = batches.shift()!.frame;
  }
}

class Copied implements Parcel {
  readonly event: ChargingEvent;
  batch: Batch | undefined;
  standby: Standby | undefined;
  private readonly events: CopiedEvents;

  constructor(events: CopiedEvents, event: ChargingEvent) {
    this.events = events;
    this.event = event;
  }

  lost(): void {
    this.events.lost(this);
  }
}
