import { closeSync, futimesSync, openSync, readFileSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { BillingContext } from "../../machines/billing.ts";
import type { BillingStore } from "../charging/billing/store.ts";
import { type SessionFacts, sessionEnded } from "../charging/events/events.ts";
import type { Journal } from "../charging/journal/journal.ts";
import { endedByText } from "../relay/model/endings.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Timeline } from "../support/timeline.ts";

const BEAT_MS = 1_000;
const PAGE = 500;
const STOPPED = endedByText("killed");

/** A clock that goes on from process to process until the machine is started again. */
export interface MachineClock {
  /** Names this run of the machine; "": the system does not say. */
  readonly boot: string;
  /** Milliseconds since a fixed moment of this run. */
  now(): number;
}

const bootId = (): string => {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
};

/** Linux's CLOCK_MONOTONIC: the same for every process. */
export const machineClock = (): MachineClock => ({
  boot: bootId(),
  now: () => Number(process.hrtime.bigint() / 1_000_000n),
});

const MOST_TRIES = 20;
const ANCHOR = /^([0-9a-f-]{1,64}) (-?\d{1,16})$/;

/**
 * Notes on disk, once a second, that the relay is alive. After a crash the sessions are charged until the last note.
 * The note is the file's modification time. It is by the relay's first timeline: the time of day at its start, and
 * from then on monotonic time, even if the wall clock is set. The file's text says how far this is ahead of the
 * machine's own clock, so that the next relay can go on by it.
 */
export class Heartbeat {
  /** When the earlier relay on this data folder was last alive; undefined: there was none. */
  readonly lastBeatAt: number | undefined;
  /** How long no relay was alive on this data folder; undefined: not known. Below zero: the clock was set back. */
  readonly downMs: number | undefined;
  /**
   * By so much that relay's first timeline is ahead of this process's monotonic clock; undefined: it cannot be known.
   */
  private readonly firstAheadMs: number | undefined;
  private readonly path: string;
  private readonly clock: Clock;
  private readonly machine: MachineClock;
  private file: number | undefined;
  private timer: TimerHandle;

  constructor(dataFolder: string, clock: Clock, machine = machineClock()) {
    this.path = join(dataFolder, "alive");
    this.clock = clock;
    this.machine = machine;
    const stat = statSync(this.path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    this.lastBeatAt = Math.round(stat.mtimeMs); // a file's time has fractions
    const [, boot, aheadMs] = ANCHOR.exec(readFileSync(this.path, "utf8").trim()) ?? [];
    // ctime: the system notes, by the wall clock, when the file's time was set.
    const firstNow =
      boot !== undefined && boot === machine.boot
        ? () => machine.now() + Number(aheadMs)
        : () => clock.wall() - Math.round(stat.ctimeMs - stat.mtimeMs);
    this.firstAheadMs = aheadOf(firstNow, () => clock.monotonic());
    this.downMs = this.firstNow! - this.lastBeatAt;
  }

  /**
   * The present time on that relay's first timeline, whenever it is asked for: a start takes seconds, which count. It
   * is found by the machine's clock; if the machine was started again since, by the wall clock, as that relay last saw
   * it. Undefined: it cannot be known.
   */
  get firstNow(): number | undefined {
    return this.firstAheadMs === undefined ? undefined : this.clock.monotonic() + this.firstAheadMs;
  }

  /**
   * Begins to note. To be called when the sessions of the earlier relay are on record: if this relay is killed before
   * that, the next relay still knows when the earlier one was alive.
   */
  start(timeline: Timeline): void {
    if (this.file === undefined) {
      this.file = openSync(this.path, "w", 0o600);
      const aheadMs = aheadOf(
        () => timeline.now(),
        () => this.machine.now(),
      );
      writeSync(this.file, `${this.machine.boot} ${aheadMs}\n`);
    }
    this.beat(timeline);
  }

  private beat(timeline: Timeline): void {
    const now = timeline.now() / 1000;
    futimesSync(this.file!, now, now);
    this.timer = this.clock.setTimeout(() => this.beat(timeline), BEAT_MS);
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
    if (this.file !== undefined) closeSync(this.file);
    this.file = undefined;
  }
}

/** By how much one clock is ahead of the other. They are read again if the process was interrupted in between. */
function aheadOf(one: () => number, other: () => number): number {
  for (let tries = 0; ; tries++) {
    const before = other();
    const aheadMs = one() - before;
    if (other() - before <= 1 || tries === MOST_TRIES) return aheadMs;
  }
}

/**
 * When a session ended whose relay was killed. `lastBeatAt` is by that relay's first timeline, `startedAt` by the
 * session's timeline. The two differ by `clockStepMs`: by so much the wall clock had been set when the session began.
 * `heardUntil`: by the session's timeline, when an end was last heard of that had not come back to that relay.
 */
export function endOf(
  { clockStepMs = 0 }: SessionFacts,
  startedAt: number,
  lastBeatAt = startedAt - clockStepMs,
  heardUntil = Number.POSITIVE_INFINITY,
): number {
  return Math.max(startedAt, Math.min(heardUntil, Math.round(lastBeatAt) + clockStepMs));
}

/**
 * Ends the sessions that an earlier relay left running when it was killed, except those that go on. First billing
 * takes what is in the journal. Sessions that then still run get the time at which that relay was last alive as their
 * end. Resolves to how many there were.
 */
export async function endOrphans(options: {
  readonly goingOn?: ReadonlySet<string>;
  readonly heardUntil?: ReadonlyMap<string, number>;
  readonly journal: Journal;
  readonly billing: BillingStore;
  readonly lastBeatAt: number | undefined;
  readonly log: Logger;
}): Promise<number> {
  const { journal, billing, lastBeatAt, log, goingOn = NOBODY, heardUntil = NEVER } = options;
  await journal.drained();
  let ended = 0;
  const done = new Set<string>();
  for (;;) {
    const found = await billing.findAccounts({ state: "running", limit: PAGE + goingOn.size });
    const running = found.filter(({ context }) => !goingOn.has(context.session));
    const accounts = running.filter(({ context }) => !done.has(context.session));
    if (accounts.length === 0) {
      // Their ends are dead letters. To wait for them would keep the relay from starting.
      if (running.length > 0) log.error({ sessions: running.length }, "sessions of an earlier run cannot be ended");
      return ended;
    }
    for (const { context } of accounts) done.add(context.session);
    const appended = accounts.map(({ context }) => {
      const from = context.startedAt ?? 0;
      const facts = factsOf(context);
      const at = endOf(facts, from, lastBeatAt, heardUntil.get(facts.id));
      return journal.append(sessionEnded(facts, from, at, STOPPED));
    });
    await Promise.all(appended);
    await journal.drained();
    ended += accounts.length;
    log.warn({ sessions: ended }, "sessions of an earlier run ended: it stopped without warning");
  }
}

/** Which of these sessions have ended in billing, after it has taken what is in the journal. */
export async function endedOf(ids: readonly string[], journal: Journal, billing: BillingStore): Promise<Set<string>> {
  const over = new Set<string>();
  if (ids.length > 0) await journal.drained();
  for (let i = 0; i < ids.length; i += PAGE)
    for (const account of await billing.accounts(ids.slice(i, i + PAGE)))
      if (account && account.state !== "running" && account.state !== "open") over.add(account.context.session);
  return over;
}

const NOBODY: ReadonlySet<string> = new Set();
const NEVER: ReadonlyMap<string, number> = new Map();

/** The facts of a session that runs, from its account. */
function factsOf({ session, user, service, appServer, call, ...context }: BillingContext): SessionFacts {
  const { tariff, used, terms, hold, previous, windowMs, clockStepMs } = context;
  return {
    ...{ id: session, user, service, appServer, call },
    ...(tariff && { tariff }),
    ...(used && { used }),
    ...(terms && { terms }),
    ...(windowMs > 0 && { lateChargesMs: windowMs }),
    ...(hold !== undefined && { hold }),
    ...(clockStepMs !== undefined && { clockStepMs }),
    ...(previous && { previous }),
  };
}

/**
 * The same as `endOrphans`, if billing may be in another process, and behind. It goes by what the journal itself has
 * of this node's sessions, and waits only for the disk.
 */
export async function endLeft(options: {
  readonly goingOn?: ReadonlySet<string>;
  readonly heardUntil?: ReadonlyMap<string, number>;
  readonly journal: Journal;
  readonly lastBeatAt: number | undefined;
  readonly log: Logger;
}): Promise<number> {
  const { journal, lastBeatAt, log, goingOn = NOBODY, heardUntil = NEVER } = options;
  const left = journal.left.filter(({ session }) => !goingOn.has(session.id));
  for (let i = 0; i < left.length; i += PAGE) {
    const appended = left.slice(i, i + PAGE).map(({ session, startedAt }) => {
      const at = endOf(session, startedAt, lastBeatAt, heardUntil.get(session.id));
      return journal.append(sessionEnded(session, startedAt, at, STOPPED));
    });
    await Promise.all(appended);
  }
  if (left.length > 0)
    log.warn({ sessions: left.length }, "sessions of an earlier run ended: it stopped without warning");
  return left.length;
}
