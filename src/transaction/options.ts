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
  /** With this many, also requests within dialogs are: what runs must be able to end. */
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
  /** The router; `attach` gives it later where the two need each other. */
  readonly user?: TransactionUser;
  readonly clock: Clock;
  readonly random: Random;
  readonly timers?: TimerSettings;
  /** After how long an unanswered INVITE gets its 100; 0: at once (RFC 3261 §17.2.1). */
  readonly tryingMs?: number;
  readonly bounds?: Partial<TransactionBounds>;
  readonly log?: Logger;
  /** In place of `log`, for what a message may bring about again and again. */
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
  /** Too many of one source: without any answer, or 503 on a connection. */
  overRate: number;
  /** Final answers without a transaction (RFC 3261 §8.2.7), challenges included. */
  stateless: number;
  /**
   * Requests so short that any answer would be several times as long, from addresses that may be forged: they get none.
   */
  outOfProportion: number;
  malformed: number;
  /** Responses that belong to nothing (RFC 6026 §8.2). */
  strayResponses: number;
  /** Exceptions of the TU, caught here. */
  failures: number;
}
