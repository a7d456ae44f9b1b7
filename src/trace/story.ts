import type { OpenRecord } from "../calls/open-record.ts";
import type { Seen } from "./seen.ts";

/** What one call may keep: a ring of so many things and bytes, of which the oldest after the first few give way. */
export interface StoryBounds {
  readonly items: number;
  readonly bytes: number;
}

/** The first messages say what a call is about: they stay. */
const FIRST = 8;
/** What a thing that is no message counts. */
const SMALL_BYTES = 200;

/** What was seen of one call, from its first message on. */
export class Story {
  readonly record: OpenRecord;
  readonly items: Seen[] = [];
  bytes = 0;
  /** Those of its sessions that have put something on record. */
  readonly sessions: string[] = [];
  /** Things that gave way. */
  leftOut = 0;
  private readonly bounds: StoryBounds;

  constructor(record: OpenRecord, bounds: StoryBounds) {
    this.record = record;
    this.bounds = bounds;
  }

  add(item: Seen): void {
    this.items.push(item);
    this.bytes += sizeOf(item);
    const { items, bytes } = this.bounds;
    while ((this.items.length > items || this.bytes > bytes) && this.items.length > FIRST) {
      const [gone] = this.items.splice(FIRST, 1);
      if (!gone) return;
      this.bytes -= sizeOf(gone);
      this.leftOut++;
    }
  }
}

export const sizeOf = (item: Seen): number => (item.kind === "message" ? item.bytes.length + SMALL_BYTES : SMALL_BYTES);
