import type { Bus } from "../../bus/types.ts";
import type { Clock, TimerHandle } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import type { Group } from "./publisher.ts";

export interface TakenOptions {
  readonly bus: Pick<Bus, "isSure">;
  readonly clock: Clock;
  readonly log: Logger;
  /** They take so many bytes at most; the oldest give way. */
  readonly maxBytes: number;
  /** The bus will not lose these any more. */
  forget(groups: readonly Group[]): void;
  /** The bus may have lost these. */
  again(groups: readonly Group[]): void;
}

/** How often the bus is asked. */
const LOOK_MS = 5_000;
/**
 * For so long it may come out that the bus has lost what it took. A server that led the others notices within 10 s that
 * it is cut off, and they need some seconds to choose another one.
 */
const HOLD_MS = 30_000;

/**
 * Groups of events that the bus has taken, for as long as it may still lose them. Servers of NATS that are killed and
 * cut off from each other have lost messages that most of them had stored, when another one came to lead. So what was
 * taken shortly before is published again then, under other ids of the bus: it has known ids of messages that it had
 * lost. Billing knows by its own id what it has already.
 */
export class TakenGroups {
  private readonly options: TakenOptions;
  private groups: { readonly group: Group; readonly at: number }[] = [];
  private bytes = 0;
  private timer: TimerHandle | undefined;
  private looking = false;
  private stopped = false;

  constructor(options: TakenOptions) {
    this.options = options;
  }

  add(groups: readonly Group[]): void {
    const { bus, clock, forget, maxBytes } = this.options;
    if (!bus.isSure || this.stopped) {
      forget(groups);
      return;
    }
    const at = clock.monotonic();
    for (const { key, bytes, count } of groups) {
      this.groups.push({ group: { key, bytes, count, events: undefined }, at });
      this.bytes += bytes;
    }
    let over = 0;
    for (let { bytes } = this; bytes > maxBytes && over < this.groups.length; over++)
      bytes -= this.groups[over]!.group.bytes;
    if (over > 0) forget(this.take(over));
    this.lookLater();
  }

  private take(count: number): Group[] {
    const taken = this.groups.splice(0, count).map(({ group }) => group);
    for (const { bytes } of taken) this.bytes -= bytes;
    return taken;
  }

  private lookLater(): void {
    if (this.stopped || this.looking || this.groups.length === 0) return;
    this.timer ??= this.options.clock.setTimeout(() => void this.look(), LOOK_MS);
  }

  private async look(): Promise<void> {
    const { bus, clock, log, forget, again } = this.options;
    this.timer = undefined;
    this.looking = true;
    const now = clock.monotonic();
    // Not known: the bus is away, or its servers are choosing who leads. They are kept until that is over.
    const isSure = await bus.isSure!().catch(() => undefined);
    this.looking = false;
    if (this.stopped) return;
    if (isSure === false) {
      const groups = this.take(this.groups.length);
      const events = groups.reduce((sum, { count }) => sum + count, 0);
      log.warn({ events }, "journal: the bus may have lost what it took lately: that is published again");
      again(groups);
    } else if (isSure) {
      const safe = this.groups.findIndex(({ at }) => at > now - HOLD_MS);
      forget(this.take(safe < 0 ? this.groups.length : safe));
    }
    this.lookLater();
  }

  /** The journal is closed: all that is here is forgotten. */
  stop(): void {
    this.stopped = true;
    this.options.clock.clearTimeout(this.timer);
    this.options.forget(this.take(this.groups.length));
  }
}
