import type { Clock } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import { monthOf } from "../money/months.ts";
import type { BillingStore, Forgetting } from "./store.ts";

/** How long the data behind bills are kept; missing: for ever. Months are whole months before the present one. */
export interface RetentionSettings {
  /** Events that were kept for `tollgate rebill`. */
  readonly eventsMonths?: number | undefined;
  /** Lines on bills, with their sums and the accounts of their sessions. */
  readonly entriesMonths?: number | undefined;
  /** Accounts of sessions that take no more charges. */
  readonly accountsDays?: number | undefined;
}

const DAY_MS = 86_400_000;
/** Records of one step: some hundreds of kilobytes, and a fraction of a second. */
const RECORDS = 1_000;
/** How long to wait when nothing is left to remove. */
const PAUSE_MS = 3_600_000;

/** The month that is `months` before another, `2026-01`. */
export function monthBefore(month: string, months: number): string {
  const [year, number] = month.split("-").map(Number);
  return monthOf(Date.UTC(year!, number! - 1 - months));
}

/** Removes what is no longer to be kept: a bounded number of records in each round of a billing worker. */
export class Retention {
  private readonly billing: BillingStore;
  private readonly settings: RetentionSettings;
  private readonly clock: Pick<Clock, "wall" | "monotonic">;
  private readonly log: Logger;
  private nextAt = Number.NEGATIVE_INFINITY;
  private records = 0;

  constructor(
    billing: BillingStore,
    settings: RetentionSettings,
    { clock, log }: { readonly clock: Pick<Clock, "wall" | "monotonic">; readonly log: Logger },
  ) {
    this.billing = billing;
    this.settings = settings;
    this.clock = clock;
    this.log = log;
  }

  /** Does one step, if it is time for one. */
  async round(): Promise<void> {
    const { eventsMonths, entriesMonths, accountsDays } = this.settings;
    const isAsked = eventsMonths !== undefined || entriesMonths !== undefined || accountsDays !== undefined;
    if (!isAsked || !this.billing.forget || this.clock.monotonic() < this.nextAt) return;
    const newest = await this.billing.newestMonth?.();
    if (newest !== undefined) {
      const { records, more } = await this.billing.forget(this.what(newest), RECORDS);
      this.records += records;
      if (more) return;
    }
    if (this.records > 0) this.log.info({ records: this.records }, "retention: what is no longer kept is removed");
    this.records = 0;
    this.nextAt = this.clock.monotonic() + PAUSE_MS;
  }

  /**
   * What to remove, by the wall clock, but never later than the month of the newest entry: a clock that is set into the
   * future must not make everything look old.
   */
  private what(newest: string): Forgetting {
    const { eventsMonths, entriesMonths, accountsDays } = this.settings;
    const now = Math.min(this.clock.wall(), Date.parse(`${monthBefore(newest, -1)}-01T00:00:00Z`));
    const before = (months: number | undefined) =>
      months === undefined ? undefined : monthBefore(monthOf(now), months);
    const entriesBefore = before(entriesMonths);
    const times = [
      ...(accountsDays === undefined ? [] : [now - accountsDays * DAY_MS]),
      ...(entriesBefore === undefined ? [] : [Date.parse(`${entriesBefore}-01T00:00:00Z`)]),
    ];
    return {
      eventsBefore: before(eventsMonths),
      entriesBefore,
      accountsBefore: times.length === 0 ? undefined : Math.max(...times),
    };
  }
}
