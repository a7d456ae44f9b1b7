import type { ArchivedEvent } from "../charging/billing-store.ts";
import { EventError } from "../charging/faults.ts";

/** Of one piece: a document of MongoDB has 16 MB, and a record of LMDB lies in pages that follow one another. */
const MOST_BYTES = 2 ** 21;
const MOST_EVENTS = 500;
/** Of one event: a piece by itself. What comes over the bus is smaller, by default a megabyte at most. */
const MOST_EVENT_BYTES = 2 ** 23;
/** What is read at a time, as text. */
export const PAGE_CHARS = 2 ** 24;

/** Events as JSON lists, cut so that each can be kept as one record. Throws an `EventError` where one event alone is too large. */
export function piecesOf(events: readonly ArchivedEvent[]): string[] {
  const pieces: string[] = [];
  let piece: string[] = [];
  let bytes = 0;
  const cut = () => {
    if (piece.length > 0) pieces.push(`[${piece.join(",")}]`);
    piece = [];
    bytes = 0;
  };
  for (const event of events) {
    const text = JSON.stringify(event);
    const size = Buffer.byteLength(text) + 1;
    if (size > MOST_EVENT_BYTES) throw new EventError(`it has ${size} bytes, and ${MOST_EVENT_BYTES} can be kept`);
    if (bytes + size > MOST_BYTES || piece.length >= MOST_EVENTS) cut();
    piece.push(text);
    bytes += size;
  }
  cut();
  return pieces;
}
