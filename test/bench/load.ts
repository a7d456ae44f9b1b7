/* What the benchmark needs of a load generator: SIPp (sipp-load.ts), or one of our own (node-load.ts). */

export interface Counters {
  readonly current: number;
  readonly successful: number;
  readonly failed: number;
  readonly retransmissions: number;
}

/** The answering side. */
export interface Answering {
  readonly pid: number;
  /** Brought up to date within `COUNTERS_EVERY_MS`. */
  counters(): Counters;
  stop(): Promise<void>;
}

export interface CallingOptions {
  /** Where the calls go: the relay, or the answering side itself. */
  readonly port: number;
  readonly rate: number;
  readonly calls: number;
  readonly holdMs: number;
  /** Notes when each INVITE, 180 and 200 went or came. */
  readonly latencies?: boolean;
}

/** The calling side. */
export interface Calling {
  readonly pid: number;
  counters(): Counters;
  /** Resolves when every call has ended, well or badly. */
  readonly done: Promise<Called>;
}

export interface Called extends Counters {
  /** From the start of the first call to the end of the last. */
  readonly seconds: number;
  /** From the INVITE with credentials to its answer, milliseconds, one for each call; empty unless asked for. */
  readonly ringingMs: readonly number[];
  readonly answerMs: readonly number[];
  /** How many calls failed for which reason, where that is known. */
  readonly reasons?: Readonly<Record<string, number>>;
}

export interface Load {
  readonly name: string;
  /** `challenging`: it asks for a digest itself, for calls that come without a relay between. */
  answering(port: number, challenging: boolean): Promise<Answering>;
  calling(options: CallingOptions): Promise<Calling>;
}

export const COUNTERS_EVERY_MS = 1_000;
export const SERVICE = "wine";
export const USER = "alice";
export const PASSWORD = "secret";
