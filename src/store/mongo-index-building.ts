import { type Db, type MongoClient, MongoError, MongoServerSelectionError } from "mongodb";
import { type Clock, pause, type TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { type Index, type MakeIndex, makeIndex } from "./mongo-indexes.ts";

const SAY_EVERY_MS = 10_000;
const AGAIN_MS = 1_000;
/**
 * MaxTimeMSExpired, WriteConcernFailed, NetworkTimeout, ExceededTimeLimit, Interrupted, and the codes of a step-down.
 */
const PASSING: ReadonlySet<unknown> = new Set([50, 64, 89, 262, 11600, 11601, 11602, 10107, 13435, 91, 189, 276]);

export interface IndexBuilding {
  readonly make: MakeIndex;
  /** Closes the client that was opened for it, if any. */
  close(): Promise<void>;
}

/**
 * Makes indexes, however long the server takes: it may be many times as long as any other operation may take. If a
 * client gives up, the server goes on with the index, and a client that asks for it again waits for it. So it is asked
 * for over a client without time-outs, and again if the connection is lost. The log says what is waited for. Rejects if
 * the server is away. `patient` makes the client without time-outs.
 */
export function indexBuilding(patient: () => MongoClient, clock: Clock, log: Logger | undefined): IndexBuilding {
  let client: MongoClient | undefined;
  const make: MakeIndex = async (collection, index) => {
    try {
      await makeIndex(collection, index);
    } catch (error) {
      if (!isPassing(error)) throw error;
      client ??= patient();
      await patiently(client.db(collection.dbName), collection.collectionName, index, { clock, log });
    }
  };
  return { make, close: async () => client?.close() };
}

async function patiently(
  db: Db,
  name: string,
  index: Index,
  { clock, log }: { readonly clock: Clock; readonly log: Logger | undefined },
): Promise<void> {
  const what = { index: index.name, collection: `${db.databaseName}.${name}` };
  const since = clock.monotonic();
  log?.warn(what, "MongoDB makes an index that was missing: the start waits for it");
  let timer: TimerHandle;
  const say = () => {
    timer = clock.setTimeout(async () => {
      const seconds = Math.round((clock.monotonic() - since) / 1_000);
      log?.warn({ ...what, seconds, ...(await progressOf(db, name)) }, "MongoDB still makes the index");
      if (timer !== undefined) say();
    }, SAY_EVERY_MS);
  };
  say();
  try {
    for (;;) {
      try {
        return await makeIndex(db.collection(name), index);
      } catch (error) {
        if (!isPassing(error)) throw error;
        await pause(clock, AGAIN_MS);
      }
    }
  } finally {
    clock.clearTimeout(timer);
    timer = undefined;
  }
}

/** Whether the server may still be making the index: the connection was lost, or no answer came in time. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof MongoError) || error instanceof MongoServerSelectionError) return false;
  return error.name.startsWith("MongoNetwork") || error.name.startsWith("MongoPool") || PASSING.has(error.code);
}

/** How far the index is, if the server tells this user. */
async function progressOf(db: Db, name: string): Promise<{ readonly percent?: number }> {
  try {
    const asked = { currentOp: 1, $ownOps: true, "command.createIndexes": name, "command.$db": db.databaseName };
    const { inprog } = await db.admin().command(asked);
    const { progress } = (inprog as { progress?: { done: number; total: number } }[]).find((op) => op.progress)!;
    return { percent: Math.floor((100 * Number(progress!.done)) / Number(progress!.total)) };
  } catch {
    return {};
  }
}
