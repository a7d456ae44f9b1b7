import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { tagsOf } from "./find.ts";
import type { CallRecord } from "./record.ts";
import type { CallSettings } from "./settings.ts";
import type { CallPage, CallRing, CallStore } from "./store.ts";

/** A page is written when its first record has waited for so long. */
const WRITE_MS = 1_000;
/** Records that may wait while the store does not take them; the oldest give way. */
const MOST_WAITING = 20_000;
const PAGE_RECORDS = 500;
/** How often it is looked at what is no longer kept. */
const FORGET_MS = 60_000;
const DAY_MS = 86_400_000;
const RINGS: readonly CallRing[] = ["users", "strangers"];

export interface PageWriterOptions {
  readonly store: CallStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: CallSettings;
}

/** Writes records to the store a page at a time, and removes old pages. What the store does not take waits for it. */
export class PageWriter {
  stored = 0;
  lost = 0;
  private readonly options: PageWriterOptions;
  private gathered: CallRecord[] = [];
  private timer: TimerHandle | undefined;
  private writing: Promise<void> | undefined;
  private isFailing = false;
  private forgotAt: number | undefined;

  constructor(options: PageWriterOptions) {
    this.options = options;
  }

  /** What is not in the store yet. */
  get waiting(): readonly CallRecord[] {
    return this.gathered;
  }

  add(record: CallRecord): void {
    this.gathered.push(record);
    if (this.gathered.length > MOST_WAITING) {
      const over = this.gathered.length - MOST_WAITING;
      this.gathered.splice(0, over);
      this.lost += over;
    }
    this.writeSoon();
  }

  private writeSoon(): void {
    if (this.timer !== undefined || this.writing) return;
    this.timer = this.options.clock.setTimeout(() => {
      this.timer = undefined;
      this.writing = this.write().finally(() => {
        this.writing = undefined;
        if (this.gathered.length > 0) this.writeSoon();
      });
    }, WRITE_MS);
  }

  private async write(): Promise<void> {
    const { store, log } = this.options;
    try {
      while (this.gathered.length > 0) {
        const records = this.gathered.slice(0, PAGE_RECORDS);
        for (const page of this.pagesOf(records)) await store.add(page);
        // The first of them may have given way to newer ones meanwhile.
        const written = new Set(records);
        this.gathered = this.gathered.filter((record) => !written.has(record));
        this.stored += records.length;
      }
      if (this.isFailing) log.info("calls: the store takes records again");
      this.isFailing = false;
      await this.forget();
    } catch (error) {
      if (!this.isFailing)
        log.warn({ err: error, waiting: this.gathered.length }, "calls: the store does not take records; they wait");
      this.isFailing = true;
    }
  }

  private pagesOf(records: readonly CallRecord[]): CallPage[] {
    const at = this.options.clock.wall();
    return RINGS.flatMap((ring) => {
      const of = records.filter(({ user }) => (ring === "users") === (user !== undefined));
      if (of.length === 0) return [];
      const tags = [...new Set(of.flatMap(tagsOf))];
      return [{ ring, at, count: of.length, text: of.map((record) => JSON.stringify(record)).join("\n"), tags }];
    });
  }

  /** Removes what need not be kept any longer, now and then. */
  private async forget(): Promise<void> {
    const { store, clock, settings } = this.options;
    const now = clock.monotonic();
    if (this.forgotAt !== undefined && now < this.forgotAt + FORGET_MS) return;
    this.forgotAt = now;
    const before = clock.wall() - settings.keepDays * DAY_MS;
    await store.forget({ ring: "users", before, most: settings.keepMost });
    await store.forget({ ring: "strangers", before, most: settings.keepStrangers });
  }

  /** Writes what waits; gives up where the store does not take it. */
  async close(): Promise<void> {
    this.options.clock.clearTimeout(this.timer);
    this.timer = undefined;
    await this.writing;
    this.options.clock.clearTimeout(this.timer);
    await this.write();
    this.lost += this.gathered.length;
  }
}
