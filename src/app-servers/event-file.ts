import { open, type RootDatabase } from "lmdb";
import { LmdbDisk } from "../support/lmdb-disk.ts";
import { privateFiles, privateFolder } from "../support/private-folder.ts";

/** What an app server is to be told, as it is kept until the app server has it. */
export interface KeptEvent {
  /** The same at each attempt, at each node and after a restart, so that the app server can tell repetitions. */
  readonly id: string;
  readonly appServer: string;
  /** Events of one chain are told in order: those of one dialog. */
  readonly chain: string;
  readonly session: string;
  readonly type: string;
  /** When it happened, milliseconds since 1970. */
  readonly at: number;
  /** The JSON text that is sent. */
  readonly body: string;
}

/** The events on disk that app servers have not taken yet, in the order in which they happened. */
export class EventFile {
  private readonly events: RootDatabase<KeptEvent, number>;
  private readonly disk: LmdbDisk;
  private last: number;

  private constructor(events: RootDatabase<KeptEvent, number>, disk: LmdbDisk) {
    this.events = events;
    this.disk = disk;
    this.last = 0;
    for (const key of events.getKeys({ reverse: true, limit: 1 })) this.last = key;
  }

  static open(path: string): EventFile {
    privateFolder(path);
    // As in the journal: a put resolves after the fsync of its commit.
    const events = open<KeptEvent, number>({
      path,
      encoding: "json",
      overlappingSync: false,
      eventTurnBatching: false,
      noSubdir: false,
    });
    privateFiles(path);
    return new EventFile(events, new LmdbDisk(path));
  }

  *all(): Iterable<readonly [key: number, event: KeptEvent]> {
    for (const { key, value } of this.events.getRange({})) yield [key, value];
  }

  /** A key for the next event. */
  next(): number {
    return ++this.last;
  }

  /** Resolves when it is on disk; rejects when it is not. */
  async put(key: number, event: KeptEvent): Promise<void> {
    await this.disk.write(() => this.events.put(key, event), event.body.length);
  }

  async remove(key: number): Promise<void> {
    await this.disk.write(() => this.events.remove(key));
  }

  close(): Promise<void> {
    return this.events.close();
  }
}
