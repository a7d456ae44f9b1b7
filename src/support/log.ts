/** Facts first, then one sentence; or the sentence alone. */
export interface Say {
  (facts: object, text?: string): void;
  (text: string): void;
}

/**
 * The structured logger that every part receives. It has the part of pino's interface that is used, so any logger of
 * this shape will do. The fact `call` is the correlation id, the same for both legs of a session.
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
