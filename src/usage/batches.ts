import type { ChargingEvent } from "../charging/events/events.ts";

/** Events that go out together: all are taken, or none is said to be. */
export interface Batch {
  readonly events: readonly ChargingEvent[];
  /** The same events once more, which the bus may hand out: nobody gets one twice in a request. */
  readonly copies: readonly ChargingEvent[];
}

/** What a body may have, octets. Below 1 MiB, which is what nginx takes where nothing else is set. */
const BODY_MOST = 1_000_000;
/** What goes around an event, at most. */
const AROUND = 1_024;

/**
 * Cuts events into batches, in their order. It depends on nothing but the events: who cuts the same ones again gets the
 * same batches, also if the first of these batches are done. An event that is larger than a body may be goes alone.
 */
export function batchesOf(events: readonly ChargingEvent[], most: number): Batch[] {
  const batches: { events: ChargingEvent[]; copies: ChargingEvent[] }[] = [];
  let batch: (typeof batches)[number] | undefined;
  let ids = new Set<string>();
  let octets = 0;
  for (const event of events) {
    if (batch && ids.has(event.id)) {
      batch.copies.push(event);
      continue;
    }
    const own = octetsOf(event);
    if (!batch || batch.events.length >= most || octets + own > BODY_MOST) {
      batch = { events: [], copies: [] };
      batches.push(batch);
      ids = new Set();
      octets = 0;
    }
    batch.events.push(event);
    ids.add(event.id);
    octets += own;
  }
  return batches;
}

const octetsOf = (event: ChargingEvent): number => Buffer.byteLength(JSON.stringify(event)) + AROUND;

/** Two parts as large as each other, in their order. */
export function halves<Item>(items: readonly Item[]): [readonly Item[], readonly Item[]] {
  const middle = Math.ceil(items.length / 2);
  return [items.slice(0, middle), items.slice(middle)];
}
