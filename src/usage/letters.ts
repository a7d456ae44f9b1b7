/** An event that an endpoint will never take as it is, or has not taken for too long. */
export interface UsageLetter {
  /** The sink's id, a colon, and the event's id. */
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
  /** In the order of their ids, those after `after`. */
  list(limit: number, after?: string): Promise<UsageLetter[]>;
  /** False if there was none. */
  remove(id: string): Promise<boolean>;
}
