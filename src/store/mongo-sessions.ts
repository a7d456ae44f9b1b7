import { type ClientSession, type MongoClient, MongoCompatibilityError, type Timestamp } from "mongodb";

/** To hand to each operation of one piece of work. */
export interface Scope {
  readonly session?: ClientSession;
}

/** A read that has to wait for the majority is given up by the server itself. */
export interface ReadScope extends Scope {
  readonly maxTimeMS?: number;
}

/** Runs what belongs together: each of its reads sees at least what those before it saw and wrote. */
export interface Sessions {
  run<T>(work: (read: ReadScope, write: Scope) => Promise<T>): Promise<T>;
}

/** For a server whose reads are never older than what it has shown before: one without sessions. */
export const NO_SESSIONS: Sessions = { run: (work) => work({}, {}) };

/**
 * Causally consistent sessions. What a majority has confirmed may look older after an election than what was seen
 * before it, since the new primary's majority point may lie behind (SERVER-53813): whoever reads an account, then its
 * ledger, and then writes under the account's revision, would count twice. In such a session the server answers a
 * read only when it has got as far as all before it.
 *
 * Each session begins where the last one of this process ended: what one piece of work has seen holds for the next.
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
