import type { ArchivedEvent } from "../charging/billing/store.ts";
import { EventError } from "../charging/events/faults.ts";

/**
 * The largest piece: a document of MongoDB has at most 16 MB, and a record of LMDB needs pages that follow one another.
 */
const MOST_BYTES = 2 ** 21;
const MOST_EVENTS = 500;
/**
 * The largest single event, which is then a piece by itself. Events from the bus are smaller, by default a megabyte at
 * most.
 */
const MOST_EVENT_BYTES = 2 ** 23;
/** A character of a JavaScript text takes at most so many bytes in UTF-8. */
const MOST_BYTES_OF_CHARACTER = 3;
/** About how many characters of JSON are read at a time. */
export const PAGE_CHARS = 2 ** 24;

/**
 * Events as JSON lists, cut so that each can be kept as one record. Throws an `EventError` if one event alone is too
 * large.
 */
export function piecesOf(events: readonly ArchivedEvent[]): string[] {
  const pieces: string[] = [];
  for (let n = 0; n < events.length; n += MOST_EVENTS) cut(events.slice(n, n + MOST_EVENTS), pieces);
  return pieces;
}

/** Cuts the events into halves until each piece is small enough. Nearly always they fit into one. */
function cut(events: readonly ArchivedEvent[], pieces: string[]): void {
  const text = JSON.stringify(events);
  if (text.length * MOST_BYTES_OF_CHARACTER <= MOST_BYTES || isSmall(text, events.length)) {
    pieces.push(text);
    return;
  }
  const middle = Math.ceil(events.length / 2);
  cut(events.slice(0, middle), pieces);
  cut(events.slice(middle), pieces);
}

function isSmall(text: string, events: number): boolean {
  const bytes = Buffer.byteLength(text);
  if (events > 1) return bytes <= MOST_BYTES;
  if (bytes > MOST_EVENT_BYTES) throw new EventError(`it has ${bytes} bytes, and ${MOST_EVENT_BYTES} can be kept`);
  return true;
}
