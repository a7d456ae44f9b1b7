import type { PeerLog } from "../../support/peer-log.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { reply } from "../dialog/reply.ts";

/** Where faults are counted and logged. */
export interface FaultLog {
  readonly counters: { crashed: number };
  readonly peerLog: Pick<PeerLog, "error">;
}

/** Whose work it is: what runs on a chart ends by a fault, a request that waits for an answer gets 500. */
export interface Whose {
  readonly actor?: { fault(error: unknown): boolean } | undefined;
  readonly transaction?: ServerTransaction | undefined;
}

/**
 * For work that nobody awaits: where it rejects, that is a fault of ours, which ends the session or request whose
 * work it is and nothing else (decision 13). Resolves when it is over, and never rejects.
 */
export function contained(log: FaultLog, work: Promise<unknown>, whose: Whose = {}): Promise<void> {
  return work.then(NOTHING, (error: unknown) => failed(log, error, whose));
}

/** A fault where nobody can be told: it is logged and counted, and ends what it belongs to. */
export function failed(log: FaultLog, error: unknown, { actor, transaction }: Whose = {}): void {
  if (transaction && !transaction.answered) reply(transaction, 500);
  if (actor?.fault(error)) return; // its owner says so
  log.counters.crashed++;
  log.peerLog.error("failed by a fault of the relay", "", { err: error });
}

const NOTHING = (): void => {};
