/** An event that an endpoint will never take as it is, or has not taken for too long. */
export interface UsageLetter {
  /** The sink's id, a colon, and the event's id: letters of one sink stand together. */
  readonly id: string;
  readonly sink: string;
  /** When it was put aside, milliseconds since 1970. */
  readonly at: number;
  readonly reason: string;
  /** What was to be sent, as the JSON text of the charging event. */
  readonly event: string;
}

/** Where such events are kept, as a port: in the embedded store, or in MongoDB for all nodes of a cluster. */
export interface UsageLetters {
  /** Adds or replaces. */
  put(letter: UsageLetter): Promise<void>;
  get(id: string): Promise<UsageLetter | undefined>;
  /** In the order of their ids, those after `after`; of one sink, or of all. */
  list(limit: number, after?: string, sink?: string): Promise<UsageLetter[]>;
  /** False if there was none. */
  remove(id: string): Promise<boolean>;
}

/** Between which ids, of which none is meant, a list goes. No sink's id has a colon. */
export function boundsOf(after = "", sink?: string): { readonly above: string; readonly below?: string } {
  if (sink === undefined) return { above: after };
  const first = `${sink}:`;
  return { above: after > first ? after : first, below: `${sink};` }; // the character after the colon
}
