import { statfs } from "node:fs/promises";
import { type Database, open, type RootDatabase } from "lmdb";
import type { Bus } from "../bus/types.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { ChargingEvent, SessionFacts } from "./events.ts";
import { type Group, type GroupKey, Publisher } from "./journal-publisher.ts";
import { written } from "./lmdb-failure.ts";

export interface JournalOptions {
  /** Folder of the journal; made where there is none. */
  readonly path: string;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  /** Bytes of events that wait for the bus; default 1 GiB. At four fifths of it `full` is true, at all of it appends are refused. */
  readonly maxBytes?: number;
  /** `full` is true as well while the disk has less than this many bytes free; default 256 MiB. */
  readonly minFreeDiskBytes?: number;
  /**
   * Least time from one commit to the next; default 50 ms, since a commit takes some 250 µs of CPU however few it holds. An append that comes
   * after a pause does not wait.
   */
  readonly commitEveryMs?: number;
  /** The same for charges: an app server waits for the answer; default 20 ms. */
  readonly commitChargesEveryMs?: number;
  /** How long events are gathered before they are published; default 100 ms. */
  readonly publishEveryMs?: number;
  /**
   * Keeps on disk which sessions run, in the same commits, so that the next opening knows which were cut off (`left`) without asking
   * billing, which may be elsewhere. Default false.
   */
  readonly trackRunning?: boolean;
}

/** A session that ran when the process before this one ended. */
export interface LeftSession {
  readonly session: SessionFacts;
  readonly startedAt: number;
}

export interface JournalStats {
  /** Events since it was opened: put on disk, refused or failed, taken by the bus. */
  readonly appended: number;
  readonly failed: number;
  readonly published: number;
  readonly commits: number;
  /** Times that the bus did not take a batch. */
  readonly publishFailures: number;
  /** Waiting for the bus now. */
  readonly pendingEvents: number;
  readonly pendingBytes: number;
  readonly maxBytes: number;
  /** Undefined where the system does not tell. */
  readonly freeDiskBytes: number | undefined;
}

export interface Journal {
  /** Resolves when the event is on the disk itself, fsync'd. Rejects when it is not: then it must not be answered for. */
  append(event: ChargingEvent): Promise<void>;
  /** True when little room is left: no new sessions, so that those under way can be put on record to their end. */
  readonly full: boolean;
  stats(): JournalStats;
  /** What an earlier run left running, as of the opening; empty without `trackRunning`. */
  readonly left: readonly LeftSession[];
  /** Resolves at the next moment when nothing is left that the bus has not taken. */
  drained(): Promise<void>;
  /** Commits what was appended, waits up to 5 s for a publication under way, and closes. What the bus did not take stays for the next start. */
  close(): Promise<void>;
}

/** What is appended until the next commit. All of it succeeds or fails together, so it has one promise. */
class Gathering {
  readonly events: ChargingEvent[] = [];
  json = "";
  readonly committed: Promise<void>;
  resolve!: () => void;
  reject!: (error: unknown) => void;

  constructor() {
    this.committed = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  add(event: ChargingEvent, json: string): void {
    this.json = this.events.length === 0 ? json : `${this.json},${json}`;
    this.events.push(event);
  }
}

type Db = RootDatabase<Buffer, GroupKey>;

const FULL_AT = 0.8;
/** A group that is committed holds about this much at most, so that memory holds one at a time. */
const GROUP_BYTES = 2 ** 20;
/** How long events that the bus has taken stay, when no further commit comes along to remove them with. */
const REMOVE_WITHIN_MS = 100;
const CHECK_EVERY_MS = 5_000;
/** Where the number of the last opening stands, before all groups. */
const OPENINGS: GroupKey = [0, 0];
const PROBE: GroupKey = [0, 1];

/** Opens the journal (DESIGN.md, decision 8), and begins to publish what an earlier run left in it. Throws where it cannot be opened. */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  // Without overlappingSync a put resolves after the fsync of its commit, and rejects where commit or fsync fails. With it, lmdb's
  // default, it resolves before, and the promise to ask instead (`db.flushed`) never settles after a failure.
  // eventTurnBatching, another default, makes a promise of its own for each turn, and its rejection would end the process.
  const db: Db = open({
    path: options.path,
    encoding: "binary",
    overlappingSync: false,
    eventTurnBatching: false,
    noSubdir: false,
  });
  const opening = await written(
    db.transaction(() => {
      const last = Number(db.get(OPENINGS)?.toString() ?? "0");
      db.putSync(OPENINGS, Buffer.from(String(last + 1)));
      return last + 1;
    }),
  );
  const running = options.trackRunning
    ? db.openDB<LeftSession, string>({ name: "running", encoding: "json" })
    : undefined;
  const journal = new LmdbJournal(db, running, opening, options);
  journal.recover();
  await journal.check();
  return journal;
}

class LmdbJournal implements Journal {
  readonly left: readonly LeftSession[];
  private readonly db: Db;
  private readonly running: Database<LeftSession, string> | undefined;
  private readonly opening: number;
  private readonly options: JournalOptions;
  private readonly publisher: Publisher;
  private readonly maxBytes: number;
  private lastGroup = 0;
  /** Gathered and not being committed yet; a further one only where the last is as large as a group may be. */
  private readonly waiting: Gathering[] = [];
  private waitingBytes = 0;
  private committing: Promise<void> | undefined;
  /** Whether a commit is decided on or under way, and whether one that is decided on may still be brought forward. */
  private scheduled: "no" | "later" | "soon" = "no";
  /** Somebody waits for what was appended. */
  private hurried = false;
  private commitAt = 0;
  private timer: TimerHandle | undefined;
  /** Taken by the bus, to be removed with the next commit. */
  private taken: GroupKey[] = [];
  private removeTimer: TimerHandle | undefined;
  private checkTimer: TimerHandle | undefined;
  private freeDiskBytes: number | undefined;
  /** The last commit failed: no new sessions until one succeeds. */
  private broken = false;
  private closing = false;
  private drains: (() => void)[] = [];
  private appended = 0;
  private failed = 0;
  private commits = 0;

  constructor(db: Db, running: Database<LeftSession, string> | undefined, opening: number, options: JournalOptions) {
    const { bus, clock, log, publishEveryMs = 100, maxBytes = 2 ** 30 } = options;
    this.db = db;
    this.running = running;
    this.left = running ? Array.from(running.getRange({}), ({ value }) => value) : [];
    this.opening = opening;
    this.options = options;
    this.maxBytes = maxBytes;
    this.publisher = new Publisher({
      bus,
      clock,
      log,
      everyMs: publishEveryMs,
      read: (key) => readEvents(db.get(key)),
      taken: (groups) => this.removeSoon(groups),
    });
  }

  recover(): void {
    for (const { key, value } of this.db.getRange({ start: [1, 0], end: [Number.MAX_SAFE_INTEGER, 0] })) {
      this.publisher.add(key, value.length, readEvents(value).length);
    }
    const { pendingEvents } = this.publisher;
    if (pendingEvents > 0)
      this.options.log.info({ events: pendingEvents }, "journal: publishes what an earlier run left");
  }

  get full(): boolean {
    const { minFreeDiskBytes = 256 * 2 ** 20 } = this.options;
    if (this.broken || (this.freeDiskBytes !== undefined && this.freeDiskBytes < minFreeDiskBytes)) return true;
    return this.publisher.pendingBytes + this.waitingBytes >= this.maxBytes * FULL_AT;
  }

  stats(): JournalStats {
    const { appended, failed, commits, maxBytes, freeDiskBytes } = this;
    const { published, failures: publishFailures, pendingEvents, pendingBytes } = this.publisher;
    return {
      appended,
      failed,
      published,
      commits,
      publishFailures,
      pendingEvents,
      pendingBytes,
      maxBytes,
      freeDiskBytes,
    };
  }

  append(event: ChargingEvent): Promise<void> {
    const json = JSON.stringify(event);
    if (this.closing || this.publisher.pendingBytes + this.waitingBytes + json.length > this.maxBytes) {
      this.failed++;
      return Promise.reject(new Error(this.closing ? "the journal is closed" : "the journal is full"));
    }
    let last = this.waiting.at(-1);
    if (!last || last.json.length >= GROUP_BYTES) {
      last = new Gathering();
      this.waiting.push(last);
    }
    last.add(event, json);
    this.waitingBytes += json.length;
    if (event.type === "charge.made") this.hurried = true;
    this.commitSoon();
    return last.committed;
  }

  /** Group commit: one at a time and not more often than asked for; what comes in the meantime goes with the next. */
  private commitSoon(): void {
    const { hurried } = this;
    if (this.closing || this.scheduled === "soon" || (this.scheduled === "later" && !hurried)) return;
    const { clock, commitEveryMs = 50, commitChargesEveryMs = Math.min(20, commitEveryMs) } = this.options;
    const everyMs = hurried ? commitChargesEveryMs : commitEveryMs;
    const waitMs = Math.min(everyMs, this.commitAt + everyMs - clock.now()); // also where the clock was set back
    const run = () => {
      this.scheduled = "soon";
      if (!this.closing) this.committing = this.commit();
    };
    clock.clearTimeout(this.timer);
    this.scheduled = hurried || waitMs <= 0 ? "soon" : "later";
    if (waitMs > 0) this.timer = clock.setTimeout(run, waitMs);
    else setImmediate(run); // with all that this turn of the event loop appends
  }

  private async commit(): Promise<void> {
    this.commitAt = this.options.clock.now();
    const group = this.waiting.shift();
    if (this.waiting.length === 0) this.hurried = false;
    const count = group?.events.length ?? 0;
    const removals = this.taken;
    this.taken = [];
    const key: GroupKey = [this.opening, ++this.lastGroup];
    const value = group && Buffer.from(`[${group.json}]`);
    try {
      await this.write(key, value, removals, group?.events ?? []);
      this.broken = false;
      this.commits++;
      this.appended += count;
      if (group && value) this.publisher.add(key, value.length, count, group.events);
      group?.resolve();
    } catch (error) {
      this.broken = true;
      this.failed += count;
      this.taken.push(...removals);
      this.options.log.error({ err: error, events: count }, "journal: commit failed");
      group?.reject(error);
    }
    if (group) this.waitingBytes -= group.json.length - count + 1; // less the commas
    this.committing = undefined;
    this.scheduled = "no";
    if (this.waiting.length > 0) this.commitSoon();
    this.settleDrains();
  }

  /** One transaction: a group to keep, or where there is none something that tells whether it can be done; and groups to remove. */
  private async write(
    key: GroupKey,
    value: Buffer | undefined,
    removals: readonly GroupKey[],
    events: readonly ChargingEvent[],
  ): Promise<void> {
    const batch = this.db.batch(() => {
      if (value) this.db.put(key, value);
      else this.db.put(PROBE, Buffer.from("probe"));
      for (const old of removals) this.db.remove(old);
      if (this.running) for (const event of events) track(this.running, event);
    });
    await written(batch);
  }

  private removeSoon(groups: readonly Group[]): void {
    for (const { key } of groups) this.taken.push(key);
    this.settleDrains();
    this.removeTimer ??= this.options.clock.setTimeout(() => {
      this.removeTimer = undefined;
      if (this.taken.length > 0) this.commitSoon();
    }, REMOVE_WITHIN_MS);
  }

  /** Looks how much room the disk has, and after a commit that failed, whether another succeeds. */
  async check(): Promise<void> {
    try {
      const { bavail, bsize } = await statfs(this.options.path);
      this.freeDiskBytes = bavail * bsize;
    } catch (error) {
      this.options.log.warn({ err: error }, "journal: cannot tell how much room the disk has");
    }
    if (this.broken) this.commitSoon();
    if (this.closing) return;
    this.checkTimer = this.options.clock.setTimeout(() => void this.check(), CHECK_EVERY_MS);
  }

  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.drains.push(resolve);
      this.publisher.hurry(true);
      if (this.waiting.length > 0) this.hurried = true;
      if (this.hurried) this.commitSoon();
      this.settleDrains();
    });
  }

  private settleDrains(): void {
    if (this.drains.length === 0 || this.waiting.length > 0 || this.committing || this.publisher.pendingEvents > 0)
      return;
    this.publisher.hurry(false);
    for (const resolve of this.drains.splice(0)) resolve();
  }

  async close(): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    for (const timer of [this.timer, this.removeTimer, this.checkTimer]) this.options.clock.clearTimeout(timer);
    await this.committing;
    while (this.waiting.length > 0) await this.commit();
    await this.publisher.close();
    if (this.taken.length > 0) await this.commit();
    await this.db.close();
  }
}

function track(running: Database<LeftSession, string>, event: ChargingEvent): void {
  const { type, session } = event;
  if (type === "session.started" || type === "session.changed") {
    running.put(session.id, { session, startedAt: event.at });
    if (type === "session.changed") running.remove(event.from.id);
  } else if (type === "session.ended") running.remove(session.id);
}

function readEvents(stored: Buffer | undefined): ChargingEvent[] {
  if (stored === undefined) return []; // another process that shares the journal has published and removed it
  return JSON.parse(stored.toString("utf8")) as ChargingEvent[];
}
