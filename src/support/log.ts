/** Facts first, then one sentence; or the sentence alone. */
export interface Say {
  (facts: object, text?: string): void;
  (text: string): void;
}

/**
 * The structured logger that every part receives, as far as pino's is used: any logger of this shape will do. `call`
 * among the facts is the correlation id that runs through both legs of a session.
 */
export interface Logger {
  readonly trace: Say;
  readonly debug: Say;
  readonly info: Say;
  readonly warn: Say;
  readonly error: Say;
  /** A logger whose lines all have these facts. */
  child(facts: Record<string, unknown>): Logger;
  isLevelEnabled(level: "trace" | "debug" | "info" | "warn" | "error"): boolean;
}
