import type { PeerLog } from "../../support/peer-log.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { reply } from "../dialog/reply.ts";

/** Where faults are counted and logged. */
export interface FaultLog {
  readonly counters: { crashed: number };
  readonly peerLog: Pick<PeerLog, "error">;
}

/** Whose work it is. At a fault, an actor ends, and a request that waits for an answer gets 500. */
export interface Whose {
  readonly actor?: { fault(error: unknown): boolean } | undefined;
  readonly transaction?: ServerTransaction | undefined;
}

/**
 * For work that nobody awaits. If it rejects, that is a fault of the relay: it ends the session or request that the
 * work belongs to, and nothing else (decision 13). Resolves when the work is over, and never rejects.
 */
export function contained(log: FaultLog, work: Promise<unknown>, whose: Whose = {}): Promise<void> {
  return work.then(NOTHING, (error: unknown) => failed(log, error, whose));
}

/** Takes a fault that no caller can handle: ends what it belongs to, and logs and counts it. */
export function failed(log: FaultLog, error: unknown, { actor, transaction }: Whose = {}): void {
  if (transaction && !transaction.answered) reply(transaction, 500);
  if (actor?.fault(error)) return; // its owner logs and counts it
  log.counters.crashed++;
  log.peerLog.error("failed by a fault of the relay", "", { err: error });
}

const NOTHING = (): void => {};
