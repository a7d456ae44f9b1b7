import { type ClientSession, type MongoClient, MongoCompatibilityError, type Timestamp } from "mongodb";

/** Must be handed to each operation of one piece of work. */
export interface Scope {
  readonly session?: ClientSession;
}

/** For reads. After `maxTimeMS` the server itself gives up a read that waits for the majority. */
export interface ReadScope extends Scope {
  readonly maxTimeMS?: number;
}

/** Runs operations that belong together: each read sees at least what the operations before it saw and wrote. */
export interface Sessions {
  run<T>(work: (read: ReadScope, write: Scope) => Promise<T>): Promise<T>;
}

/** For a server without sessions. Its reads are never older than what it has shown before. */
export const NO_SESSIONS: Sessions = { run: (work) => work({}, {}) };

/**
 * Causally consistent sessions. After an election, a majority read may return older data than a read before it, since
 * the majority point of the new primary may lie behind (SERVER-53813). Code that reads an account, then its ledger, and
 * then writes under the account's revision, would then count twice. In such a session the server answers a read only
 * when it has caught up with all operations before.
 *
 * Each session begins where the last one of this process ended: the next piece of work sees at least what the last one
 * saw.
 */
export class MongoSessions implements Sessions {
  private readonly client: MongoClient;
  private readonly maxTimeMS: number;
  private operationTime: Timestamp | undefined;

  private constructor(client: MongoClient, maxTimeMS: number) {
    this.client = client;
    this.maxTimeMS = maxTimeMS;
  }

  /** Asks the server whether it has sessions. */
  static async on(client: MongoClient, database: string, maxTimeMS: number): Promise<Sessions> {
    const sessions = new MongoSessions(client, maxTimeMS);
    try {
      await sessions.run((_, write) => client.db(database).command({ ping: 1 }, write));
      return sessions;
    } catch (error) {
      if (error instanceof MongoCompatibilityError) return NO_SESSIONS;
      throw error;
    }
  }

  async run<T>(work: (read: ReadScope, write: Scope) => Promise<T>): Promise<T> {
    const session = this.client.startSession({ causalConsistency: true });
    if (this.operationTime) session.advanceOperationTime(this.operationTime);
    try {
      return await work({ session, maxTimeMS: this.maxTimeMS }, { session });
    } finally {
      this.note(session.operationTime);
      await session.endSession();
    }
  }

  private note(time: Timestamp | undefined): void {
    if (time && (this.operationTime === undefined || time.greaterThan(this.operationTime))) this.operationTime = time;
  }
}
