import { type Database, open, type RootDatabase } from "lmdb";
import { LmdbDisk } from "../../support/lmdb-disk.ts";
import { privateFiles, privateFolder } from "../../support/private-folder.ts";
import type { ChargingEvent, SessionFacts } from "../events/events.ts";
import type { GroupKey } from "./publisher.ts";

/** A session that ran when the process before this one ended. */
export interface LeftSession {
  readonly session: SessionFacts;
  readonly startedAt: number;
}

/** Changes to what others keep beside the events, in the same commit: texts by name. */
export interface KeptChanges {
  readonly puts: readonly (readonly [name: string, text: string])[];
  readonly removals: readonly string[];
  /** Sessions that run elsewhere from now on: their end is put on record there. */
  readonly elsewhere?: readonly string[];
}

/** The key of a stored group of events, and its size. */
export interface KeptGroup {
  readonly key: GroupKey;
  readonly bytes: number;
}

type Groups = RootDatabase<Buffer, GroupKey>;
type Running = Database<LeftSession, string>;

/** The key of the number of the last opening; it sorts before all groups. */
const OPENINGS: GroupKey = [0, 0];
const PROBE: GroupKey = [0, 1];

/**
 * What the journal has on disk: groups of events that the bus has not taken yet, and, if asked for, which sessions run.
 */
export class JournalFile {
  /** Sessions that ran when an earlier process ended, as read at the opening. */
  readonly left: readonly LeftSession[];
  readonly disk: LmdbDisk;
  private readonly groups: Groups;
  private readonly running: Running | undefined;
  private readonly besides: Database<string, string>;
  private readonly opening: number;
  private lastGroup = 0;

  private constructor(
    groups: Groups,
    running: Running | undefined,
    besides: Database<string, string>,
    disk: LmdbDisk,
    opening: number,
  ) {
    this.groups = groups;
    this.running = running;
    this.besides = besides;
    this.disk = disk;
    this.opening = opening;
    this.left = running ? Array.from(running.getRange({}), ({ value }) => value) : [];
  }

  /** Opens the journal's file. Rejects where that fails. */
  static async open(path: string, trackRunning = false, disk = new LmdbDisk(path)): Promise<JournalFile> {
    privateFolder(path);
    // Without overlappingSync a put resolves after the fsync of its commit, and rejects where commit or fsync fails.
    // With it, lmdb's default, it resolves before, and the promise to ask instead (`db.flushed`) never settles after
    // a failure. eventTurnBatching, another default, makes a promise of its own for each turn, and its rejection
    // would end the process.
    const groups: Groups = open({
      path,
      encoding: "binary",
      overlappingSync: false,
      eventTurnBatching: false,
      noSubdir: false,
    });
    privateFiles(path);
    const opening = await disk.write(() =>
      groups.transaction(() => {
        const last = Number(groups.get(OPENINGS)?.toString() ?? "0");
        groups.putSync(OPENINGS, Buffer.from(String(last + 1)));
        return last + 1;
      }),
    );
    const running = trackRunning
      ? groups.openDB<LeftSession, string>({ name: "running", encoding: "json" })
      : undefined;
    const besides = groups.openDB<string, string>({ name: "kept", encoding: "string" });
    return new JournalFile(groups, running, besides, disk, opening);
  }

  /** What is kept beside the events, by name. */
  *kept(): Iterable<readonly [name: string, text: string]> {
    for (const { key, value } of this.besides.getRange({})) yield [key, value];
  }

  /** All groups of events that are there, the oldest first. */
  *all(): Iterable<KeptGroup> {
    for (const { key, value } of this.groups.getRange({ start: [1, 0], end: [Number.MAX_SAFE_INTEGER, 0] }))
      yield { key, bytes: value.length };
  }

  read(key: GroupKey): ChargingEvent[] {
    const stored = this.groups.get(key);
    if (stored === undefined) return []; // another process that shares the journal has published and removed it
    return JSON.parse(stored.toString("utf8")) as ChargingEvent[];
  }

  /**
   * In one transaction, keeps a group of events, removes other groups, and changes what is kept beside them. Without
   * events it writes a probe, which shows whether the disk works. Resolves when all is on the disk itself, fsync'd;
   * rejects when it is not.
   */
  async write(
    events: readonly ChargingEvent[],
    removals: readonly GroupKey[],
    changes: KeptChanges = NO_CHANGES,
  ): Promise<KeptGroup> {
    const key: GroupKey = events.length === 0 ? PROBE : [this.opening, ++this.lastGroup];
    const value = Buffer.from(events.length === 0 ? "probe" : JSON.stringify(events));
    const begin = () =>
      // The single promises are ignored: the batch's promise says when all is on disk.
      this.groups.batch(() => {
        void this.groups.put(key, value);
        for (const old of removals) void this.groups.remove(old);
        if (this.running) for (const event of events) track(this.running, event);
        for (const id of changes.elsewhere ?? []) void this.running?.remove(id);
        for (const [name, text] of changes.puts) void this.besides.put(name, text);
        for (const name of changes.removals) void this.besides.remove(name);
      });
    let bytes = value.length;
    for (const [, text] of changes.puts) bytes += text.length;
    await this.disk.write(begin, bytes);
    return { key, bytes: value.length };
  }

  close(): Promise<void> {
    return this.groups.close();
  }
}

const NO_CHANGES: KeptChanges = { puts: [], removals: [] };

function track(running: Running, event: ChargingEvent): void {
  const { type, session } = event;
  if (type === "session.started" || type === "session.changed") {
    void running.put(session.id, { session, startedAt: event.at });
    if (type === "session.changed") void running.remove(event.from.id);
  } else if (type === "session.ended") void running.remove(session.id);
}
