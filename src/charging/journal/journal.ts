import type { Bus } from "../../bus/types.ts";
import type { Clock, TimerHandle } from "../../support/clock.ts";
import type { LmdbDisk } from "../../support/lmdb-disk.ts";
import type { Logger } from "../../support/log.ts";
import { PeerLog } from "../../support/peer-log.ts";
import type { ChargingEvent } from "../events/events.ts";
import { JournalFile, type KeptChanges, type LeftSession } from "./file.ts";
import { type Group, type GroupKey, Publisher } from "./publisher.ts";
import { TakenGroups } from "./taken.ts";

export interface JournalOptions {
  /** Folder of the journal; made if it does not exist. */
  readonly path: string;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Logger;
  /**
   * How many bytes of events may wait for the bus; default 1 GiB. From four fifths of this, `full` is true; above it,
   * appends are refused.
   */
  readonly maxBytes?: number;
  /** `full` is also true while the disk has less than this many bytes free; default 256 MiB. */
  readonly minFreeDiskBytes?: number;
  /** The disk that `path` is on, unless a test brings its own. */
  readonly disk?: LmdbDisk;
  /**
   * Least time from one commit to the next; default 50 ms, since a commit takes some 250 µs of CPU, however few events
   * it has. An append that comes after a pause does not wait.
   */
  readonly commitEveryMs?: number;
  /** The same for charges: an app server waits for the answer; default 20 ms. */
  readonly commitChargesEveryMs?: number;
  /** How long events are gathered before they are published; default 100 ms. */
  readonly publishEveryMs?: number;
  /**
   * Keeps on disk which sessions run, in the same commits. So the next opening knows which sessions were cut off
   * (`left`), and need not ask billing, which may be elsewhere. Default false.
   */
  readonly trackRunning?: boolean;
  /** Called with the events that the bus has just taken. */
  readonly published?: (events: readonly ChargingEvent[]) => void;
}

export interface JournalStats {
  /** Events since the opening: put on disk; refused or failed; taken by the bus. */
  readonly appended: number;
  readonly failed: number;
  readonly published: number;
  readonly commits: number;
  /** How often the bus did not take a batch. */
  readonly publishFailures: number;
  /** Waiting for the bus now, including events that the bus refuses. */
  readonly pendingEvents: number;
  readonly pendingBytes: number;
  readonly maxBytes: number;
  /** Undefined where the system does not tell. */
  readonly freeDiskBytes: number | undefined;
}

/** Keeps something beside the events, in the same commits. */
export interface Companion {
  /** Called right before each commit, with the events of that commit. Undefined: nothing changes. */
  changes(events: readonly ChargingEvent[]): KeptChanges | undefined;
  /** The commit failed, so these changes were not made. */
  failed(changes: KeptChanges): void;
}

export interface Journal {
  /**
   * Resolves when the event is on the disk itself, fsync'd. Rejects when it is not: then nobody may be told that it
   * happened.
   */
  append(event: ChargingEvent): Promise<void>;
  /**
   * True when little room is left. New sessions are then refused, so that the present ones can be put on record to
   * their end.
   */
  readonly full: boolean;
  stats(): JournalStats;
  /** Sessions that ran when an earlier process ended, as read at the opening; empty without `trackRunning`. */
  readonly left: readonly LeftSession[];
  /** What a companion has kept, as of the opening of the journal or the last commit. */
  kept(): Iterable<readonly [name: string, text: string]>;
  /** From now on, `companion` is asked at each commit. */
  accompany(companion: Companion): void;
  /** The companion has something to keep: makes a commit soon, unless an event brings one earlier. */
  keepSoon(): void;
  /** Resolves when the bus has taken everything that was appended before the call; rejects when it does not take it. */
  settled(): Promise<void>;
  /** Resolves as soon as the bus has taken all events, except those that it refuses. */
  drained(): Promise<void>;
  /**
   * Commits what was appended, waits up to 5 s for a publication under way, and closes. What the bus did not take
   * stays for the next start.
   */
  close(): Promise<void>;
}

/** The events that are appended until the next commit. They succeed or fail together, so they share one promise. */
class Gathering {
  readonly events: ChargingEvent[] = [];
  readonly committed: Promise<void>;
  resolve!: () => void;
  reject!: (error: unknown) => void;

  constructor() {
    this.committed = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

const FULL_AT = 0.8;
/** Beside that, what the bus has taken and may still lose has so much room. */
const TAKEN_PART = 0.25;
/** Most events in one group. */
const GROUP_EVENTS = 4_000;
/** What an event counts as until its group is written: more than nearly any event takes. */
const EVENT_BYTES = 2_048;
/**
 * How long to wait for a commit with which to remove events that the bus has taken. After that, a commit is made for
 * it.
 */
const REMOVE_WITHIN_MS = 100;
const CHECK_EVERY_MS = 5_000;

/**
 * Opens the journal (decision 8), and begins to publish what an earlier run left in it. Throws where it
 * cannot be opened.
 */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  const file = await JournalFile.open(options.path, options.trackRunning, options.disk);
  const journal = new GroupJournal(file, options);
  journal.recover();
  journal.check();
  return journal;
}

class GroupJournal implements Journal {
  private readonly file: JournalFile;
  private readonly options: JournalOptions;
  /** Rate-limited: while the disk is full, each commit fails, and the log must not fill the disk further. */
  private readonly failures: PeerLog;
  private readonly publisher: Publisher;
  private readonly takenGroups: TakenGroups;
  private readonly maxBytes: number;
  /** Groups that wait for their commit. There are several only where a group was full. */
  private readonly waiting: Gathering[] = [];
  private waitingEvents = 0;
  private committing: Promise<void> | undefined;
  private companion: Companion | undefined;
  /** The companion has got something to keep since the present commit began. */
  private keepAgain = false;
  /**
   * Whether a commit is planned or under way, and what may make a planned one come earlier. `lazily`: any event.
   * `later`: an event that somebody waits for. `soon`: nothing.
   */
  private scheduled: "no" | "lazily" | "later" | "soon" = "no";
  /** Somebody waits for the events that were appended. */
  private hurried = false;
  private commitAt = Number.NEGATIVE_INFINITY;
  private timer: TimerHandle | undefined;
  /** Groups that the bus has taken and will not lose, to be removed with the next commit. */
  private taken: GroupKey[] = [];
  private removeTimer: TimerHandle | undefined;
  private checkTimer: TimerHandle | undefined;
  /** The last commit failed: no new sessions until one succeeds. */
  private broken = false;
  private closing = false;
  private drains: (() => void)[] = [];
  private appended = 0;
  private failed = 0;
  private commits = 0;

  constructor(file: JournalFile, options: JournalOptions) {
    const { bus, clock, log, published, publishEveryMs = 100, maxBytes = 2 ** 30 } = options;
    this.file = file;
    this.options = options;
    this.failures = new PeerLog({ log, clock });
    this.maxBytes = maxBytes;
    this.takenGroups = new TakenGroups({
      ...{ bus, clock, log },
      maxBytes: maxBytes * TAKEN_PART,
      forget: (groups) => this.removeSoon(groups),
      again: (groups) => {
        for (const group of groups) this.publisher.add({ ...group, again: "again" });
      },
    });
    this.publisher = new Publisher({
      bus,
      clock,
      log,
      everyMs: publishEveryMs,
      read: (key) => file.read(key),
      taken: (groups) => {
        this.takenGroups.add(groups);
        this.settleDrains();
      },
      published,
    });
  }

  recover(): void {
    for (const { key, bytes } of this.file.all())
      this.publisher.add({ key, bytes, count: this.file.read(key).length, events: undefined });
    const { pendingEvents } = this.publisher;
    if (pendingEvents > 0)
      this.options.log.info({ events: pendingEvents }, "journal: publishes what an earlier run left");
  }

  get left(): readonly LeftSession[] {
    return this.file.left;
  }

  get full(): boolean {
    const { minFreeDiskBytes = 256 * 2 ** 20 } = this.options;
    const { freeBytes = Number.POSITIVE_INFINITY } = this.file.disk;
    if (this.broken || freeBytes < minFreeDiskBytes) return true;
    return this.publisher.pendingBytes + this.waitingEvents * EVENT_BYTES >= this.maxBytes * FULL_AT;
  }

  stats(): JournalStats {
    const { appended, failed, commits, maxBytes } = this;
    const { published, failures: publishFailures, asideEvents, pendingBytes } = this.publisher;
    return {
      appended,
      failed,
      published,
      commits,
      publishFailures,
      pendingEvents: this.publisher.pendingEvents + asideEvents,
      pendingBytes,
      maxBytes,
      freeDiskBytes: this.file.disk.freeBytes,
    };
  }

  append(event: ChargingEvent): Promise<void> {
    if (this.closing || this.publisher.pendingBytes + (this.waitingEvents + 1) * EVENT_BYTES > this.maxBytes) {
      this.failed++;
      return Promise.reject(new Error(this.closing ? "the journal is closed" : "the journal is full"));
    }
    let last = this.waiting.at(-1);
    if (!last || last.events.length >= GROUP_EVENTS) {
      last = new Gathering();
      this.waiting.push(last);
    }
    last.events.push(event);
    this.waitingEvents++;
    if (event.type === "charge.made") this.hurried = true;
    this.commitSoon();
    return last.committed;
  }

  kept(): Iterable<readonly [name: string, text: string]> {
    return this.file.kept();
  }

  accompany(companion: Companion): void {
    this.companion = companion;
  }

  keepSoon(): void {
    if (this.closing) return;
    if (this.committing) this.keepAgain = true;
    if (this.scheduled !== "no") return;
    const { clock, commitEveryMs = 50 } = this.options;
    this.scheduled = "lazily";
    this.timer = clock.setTimeout(() => this.run(), commitEveryMs);
  }

  /**
   * Plans a group commit: one at a time, and not more often than the settings say. What comes meanwhile goes into the
   * next.
   */
  private commitSoon(): void {
    const { hurried } = this;
    if (this.closing || this.scheduled === "soon" || (this.scheduled === "later" && !hurried)) return;
    const { clock, commitEveryMs = 50, commitChargesEveryMs = Math.min(20, commitEveryMs) } = this.options;
    const everyMs = hurried ? commitChargesEveryMs : commitEveryMs;
    const waitMs = this.commitAt + everyMs - clock.monotonic();
    clock.clearTimeout(this.timer);
    this.scheduled = hurried || waitMs <= 0 ? "soon" : "later";
    if (waitMs > 0) this.timer = clock.setTimeout(() => this.run(), waitMs);
    else setImmediate(() => this.run()); // takes along all that this turn of the event loop appends
  }

  private run(): void {
    this.scheduled = "soon";
    if (!this.closing) this.committing = this.commit();
  }

  private async commit(): Promise<void> {
    this.commitAt = this.options.clock.monotonic();
    const group = this.waiting.shift();
    if (this.waiting.length === 0) this.hurried = false;
    const count = group?.events.length ?? 0;
    const removals = this.taken;
    this.taken = [];
    this.keepAgain = false;
    const changes = this.companion?.changes(group?.events ?? []);
    try {
      const { key, bytes } = await this.file.write(group?.events ?? [], removals, changes);
      this.broken = false;
      this.commits++;
      this.appended += count;
      if (group) {
        this.publisher.add({ key, bytes, count, events: group.events });
        group.resolve();
      }
    } catch (error) {
      this.broken = true;
      this.failed += count;
      this.taken.push(...removals);
      if (changes) this.companion?.failed(changes);
      this.failures.error("journal: commit failed", "", { err: error, events: count });
      group?.reject(error);
    }
    this.waitingEvents -= count;
    this.committing = undefined;
    this.scheduled = "no";
    if (this.waiting.length > 0) this.commitSoon();
    else if (this.keepAgain) this.keepSoon();
    this.settleDrains();
  }

  private removeSoon(groups: readonly Group[]): void {
    for (const { key } of groups) this.taken.push(key);
    if (this.closing || groups.length === 0) return;
    this.removeTimer ??= this.options.clock.setTimeout(() => {
      this.removeTimer = undefined;
      if (this.taken.length > 0) this.commitSoon();
    }, REMOVE_WITHIN_MS);
  }

  /** Checks how much room the disk has, and, after a failed commit, whether another succeeds. */
  check(): void {
    this.file.disk.look();
    if (this.broken) this.commitSoon();
    if (this.closing) return;
    this.checkTimer = this.options.clock.setTimeout(() => this.check(), CHECK_EVERY_MS);
  }

  async settled(): Promise<void> {
    const last = this.waiting.at(-1);
    if (last) {
      this.hurried = true;
      this.commitSoon();
      await last.committed.catch(() => {}); // if it fails, nobody was told that the events happened
    } else await this.committing;
    if (this.closing) throw new Error("the journal is closed");
    await this.publisher.settled();
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
    this.takenGroups.stop();
    if (this.taken.length > 0) await this.commit();
    await this.file.close();
  }
}
