import { closeSync, futimesSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import type { BillingContext } from "../../machines/billing.ts";
import type { BillingStore } from "../charging/billing-store.ts";
import { type SessionFacts, sessionEnded } from "../charging/events.ts";
import type { Journal } from "../charging/journal.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Timeline } from "../support/timeline.ts";

const BEAT_MS = 1_000;
const PAGE = 500;
const STOPPED = "relay: stopped without warning";

/**
 * Says on disk, once a second, that the relay is alive: after a crash, the time until which the sessions it had may be charged. Only
 * the file's modification time is used, which is by the relay's first timeline whatever becomes of the wall clock.
 */
export class Heartbeat {
  /** When the relay that ran before on this data folder was last alive; undefined: none was. */
  readonly lastBeatAt: number | undefined;
  private readonly path: string;
  private readonly clock: Clock;
  private file: number | undefined;
  private timer: TimerHandle;

  constructor(dataFolder: string, clock: Clock) {
    this.path = join(dataFolder, "alive");
    this.clock = clock;
    const at = statSync(this.path, { throwIfNoEntry: false })?.mtimeMs;
    if (at !== undefined) this.lastBeatAt = Math.round(at); // a file's time has fractions
  }

  /** Begins, once the sessions of the relay before are on record: if this one is killed until then, the next one still knows when that one was. */
  start(timeline: Timeline): void {
    this.file ??= openSync(this.path, "a", 0o600);
    const now = timeline.now() / 1000;
    futimesSync(this.file, now, now);
    this.timer = this.clock.setTimeout(() => this.start(timeline), BEAT_MS);
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
    if (this.file !== undefined) closeSync(this.file);
    this.file = undefined;
  }
}

/**
 * When a session ended whose relay was killed. `lastBeatAt` is by that relay's first timeline, and `startedAt` by the session's, which began
 * when the wall clock had been set by so much: the difference is what really passed.
 */
function endOf({ clockStepMs = 0 }: SessionFacts, startedAt: number, lastBeatAt = startedAt - clockStepMs): number {
  return Math.max(startedAt, Math.round(lastBeatAt) + clockStepMs);
}

/**
 * Ends the sessions that an earlier run left running when it was killed: what is in the journal is billed first, and what then still runs
 * ended when that relay was last alive. Resolves to how many there were.
 */
export async function endOrphans(options: {
  readonly journal: Journal;
  readonly billing: BillingStore;
  readonly lastBeatAt: number | undefined;
  readonly log: Logger;
}): Promise<number> {
  const { journal, billing, lastBeatAt, log } = options;
  await journal.drained();
  let ended = 0;
  const done = new Set<string>();
  for (;;) {
    const running = await billing.findAccounts({ state: "running", limit: PAGE });
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
      return journal.append(sessionEnded(facts, from, endOf(facts, from, lastBeatAt), STOPPED));
    });
    await Promise.all(appended);
    await journal.drained();
    ended += accounts.length;
    log.warn({ sessions: ended }, "sessions of an earlier run ended: it stopped without warning");
  }
}

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
 * The same where billing may be elsewhere, and behind: by what the journal itself has of this node's sessions. Waits for nothing but the disk.
 */
export async function endLeft(options: {
  readonly journal: Journal;
  readonly lastBeatAt: number | undefined;
  readonly log: Logger;
}): Promise<number> {
  const { journal, lastBeatAt, log } = options;
  const { left } = journal;
  for (let i = 0; i < left.length; i += PAGE) {
    const appended = left.slice(i, i + PAGE).map(({ session, startedAt }) => {
      return journal.append(sessionEnded(session, startedAt, endOf(session, startedAt, lastBeatAt), STOPPED));
    });
    await Promise.all(appended);
  }
  if (left.length > 0)
    log.warn({ sessions: left.length }, "sessions of an earlier run ended: it stopped without warning");
  return left.length;
}
