import type { ArchivedEvent } from "../charging/billing/store.ts";
import { EventError } from "../charging/events/faults.ts";

/** Of one piece: a document of MongoDB has 16 MB, and a record of LMDB lies in pages that follow one another. */
const MOST_BYTES = 2 ** 21;
const MOST_EVENTS = 500;
/** Of one event: a piece by itself. What comes over the bus is smaller, by default a megabyte at most. */
const MOST_EVENT_BYTES = 2 ** 23;
/** Of a character of JavaScript, in UTF-8. */
const MOST_BYTES_OF_CHARACTER = 3;
/** What is read at a time, as text. */
export const PAGE_CHARS = 2 ** 24;

/**
 * Events as JSON lists, cut so that each can be kept as one record. Throws an `EventError` where one event alone is too
 * large.
 */
export function piecesOf(events: readonly ArchivedEvent[]): string[] {
  const pieces: string[] = [];
  for (let n = 0; n < events.length; n += MOST_EVENTS) cut(events.slice(n, n + MOST_EVENTS), pieces);
  return pieces;
}

/** In halves, until each is small enough: nearly always they are together. */
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
