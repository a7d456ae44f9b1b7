import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { Random } from "../support/random.ts";
import type { TransportLayer } from "../transport/types.ts";
import type { TimerSettings, TransactionUser } from "./types.ts";

/** How much the layer takes on (decision 14). */
export interface TransactionBounds {
  /** With this many transactions, requests that would open a dialog are refused: 503 with Retry-After. */
  readonly maxTransactions: number;
  /**
   * With this many, requests within dialogs are refused too. This bound is higher, so that running sessions can still
   * be ended.
   */
  readonly maxTransactionsInDialogs: number;
  readonly retryAfterS: number;
}

export const defaultBounds: TransactionBounds = {
  maxTransactions: 400_000,
  maxTransactionsInDialogs: 500_000,
  retryAfterS: 5,
};

export interface TransactionLayerOptions {
  readonly transport: TransportLayer;
  /** The router. It can also be given later by `attach`, since each of the two needs the other. */
  readonly user?: TransactionUser;
  readonly clock: Clock;
  readonly random: Random;
  readonly timers?: TimerSettings;
  /** After how long an unanswered INVITE gets its 100; 0: at once (RFC 3261 §17.2.1). */
  readonly tryingMs?: number;
  readonly bounds?: Partial<TransactionBounds>;
  readonly log?: Logger;
  /** Used in place of `log` for faults that a message may cause again and again. */
  readonly peerLog?: PeerLog;
}

/** What happened since the start, for metrics. */
export interface TransactionStats {
  serverTransactions: number;
  clientTransactions: number;
  /** INVITEs answered with a challenge, without a transaction (RFC 3261 §8.2.7). */
  challenged: number;
  /** Requests that came again and were absorbed. */
  retransmissions: number;
  /** Answered 482 (RFC 3261 §8.2.2.2). */
  merged: number;
  /** Answered 503 because of the bounds. */
  refused: number;
  /** Requests over the rate of their source: dropped without an answer, or answered 503 on a connection. */
  overRate: number;
  /** Requests of strangers who get no answer. */
  ignored: number;
  /** Final answers without a transaction (RFC 3261 §8.2.7), challenges included. */
  stateless: number;
  /**
   * Requests without an answer, because it would be several times as long as the request and the source may be forged.
   */
  outOfProportion: number;
  malformed: number;
  /** Responses that match no transaction (RFC 6026 §8.2). */
  strayResponses: number;
  /** Exceptions of the TU, caught here. */
  failures: number;
}
