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

/** A clock that goes on from process to process until the machine starts anew. */
export interface MachineClock {
  /** Names this run of the machine; "": the system does not tell. */
  readonly boot: string;
  /** Milliseconds since some moment of this run. */
  now(): number;
}

const bootId = (): string => {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
};

/** Linux's CLOCK_MONOTONIC, whichever process reads it. */
export const machineClock = (): MachineClock => ({
  boot: bootId(),
  now: () => Number(process.hrtime.bigint() / 1_000_000n),
});

const ANCHOR = /^([0-9a-f-]{1,64}) (-?\d{1,16})$/;

/**
 * Says on disk, once a second, that the relay is alive: after a crash, the time until which the sessions it had may
 * be charged. The file's modification time is by the relay's first timeline, whatever becomes of the wall clock; in
 * it stands how far that is ahead of the machine's own clock, by which the next relay goes on.
 */
export class Heartbeat {
  /** When the relay that ran before on this data folder was last alive; undefined: none was. */
  readonly lastBeatAt: number | undefined;
  /**
   * What it is now by that relay's first timeline: by the machine's clock, or, where the machine was started anew
   * since, by the wall clock, as that relay last saw it. Undefined: nobody can know.
   */
  readonly firstNow: number | undefined;
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
    if (boot !== undefined && boot === machine.boot) this.firstNow = machine.now() + Number(aheadMs);
    // The system notes by the wall clock when the file's time was set.
    else this.firstNow = clock.wall() - Math.round(stat.ctimeMs - stat.mtimeMs);
  }

  /**
   * How long no relay was alive on this data folder; undefined: nobody can know. Of a clock that ran back it is below
   * zero.
   */
  get downMs(): number | undefined {
    const { firstNow, lastBeatAt } = this;
    return firstNow === undefined || lastBeatAt === undefined ? undefined : firstNow - lastBeatAt;
  }

  /**
   * Begins, once the sessions of the relay before are on record: if this one is killed until then, the next one still
   * knows when that one was.
   */
  start(timeline: Timeline): void {
    if (this.file === undefined) {
      this.file = openSync(this.path, "w", 0o600);
      writeSync(this.file, `${this.machine.boot} ${timeline.now() - this.machine.now()}\n`);
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

/**
 * When a session ended whose relay was killed. `lastBeatAt` is by that relay's first timeline, and `startedAt` by the
 * session's, which began when the wall clock had been set by so much: the difference is what really passed.
 * `heardUntil`: when an end of it was last heard of, by the session's timeline, that had not come back to that relay.
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
 * Ends the sessions that an earlier run left running when it was killed, but for those that go on: what is in the
 * journal is billed first, and what then still runs ended when that relay was last alive. Resolves to how many there
 * were.
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
      // Their ends lie with the dead letters: waiting for them would keep the relay from starting.
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

/** Those of these sessions that billing has ended, once it has seen what is in the journal. */
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

/** What its account has kept of a session that runs. */
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
 * The same where billing may be elsewhere, and behind: by what the journal itself has of this node's sessions. Waits
 * for nothing but the disk.
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
