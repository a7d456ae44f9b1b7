import { closeSync, futimesSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import type { BillingContext } from "../../machines/billing.ts";
import type { BillingStore } from "../charging/billing-store.ts";
import { type SessionFacts, sessionEnded } from "../charging/events.ts";
import type { Journal } from "../charging/journal.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";

const BEAT_MS = 1_000;
const PAGE = 500;

/**
 * Says on disk, once a second, that the relay is alive: after a crash, the time until which the sessions it had may be charged. Only
 * the file's modification time is used.
 */
export class Heartbeat {
  /** When the relay that ran before on this data folder was last alive; undefined: none was. */
  readonly lastBeatAt: number | undefined;
  private readonly file: number;
  private readonly clock: Clock;
  private timer: TimerHandle;

  constructor(dataFolder: string, clock: Clock) {
    const path = join(dataFolder, "alive");
    this.lastBeatAt = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
    this.file = openSync(path, "a", 0o600);
    this.clock = clock;
    this.beat();
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
    closeSync(this.file);
  }

  private beat(): void {
    const now = this.clock.wall() / 1000;
    futimesSync(this.file, now, now);
    this.timer = this.clock.setTimeout(() => this.beat(), BEAT_MS);
  }
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
  for (;;) {
    const accounts = await billing.findAccounts({ state: "running", limit: PAGE });
    if (accounts.length === 0) return ended;
    const appended = accounts.map(({ context }) => {
      const from = context.startedAt ?? 0;
      return journal.append(
        sessionEnded(factsOf(context), from, Math.max(from, lastBeatAt ?? from), "relay: stopped without warning"),
      );
    });
    await Promise.all(appended);
    await journal.drained();
    ended += accounts.length;
    log.warn({ sessions: ended }, "sessions of an earlier run ended: it stopped without warning");
  }
}

/** What its account has kept of a session that runs. */
function factsOf({ session, user, service, appServer, call, ...context }: BillingContext): SessionFacts {
  const { tariff, terms, hold, previous, windowMs } = context;
  return {
    ...{ id: session, user, service, appServer, call },
    ...(tariff && { tariff }),
    ...(terms && { terms }),
    ...(windowMs > 0 && { lateChargesMs: windowMs }),
    ...(hold !== undefined && { hold }),
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
      const at = Math.max(startedAt, lastBeatAt ?? startedAt);
      return journal.append(sessionEnded(session, startedAt, at, "relay: stopped without warning"));
    });
    await Promise.all(appended);
  }
  if (left.length > 0)
    log.warn({ sessions: left.length }, "sessions of an earlier run ended: it stopped without warning");
  return left.length;
}
