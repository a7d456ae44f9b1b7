import type { Clock, TimerHandle } from "../support/clock.ts";
import { stamps } from "../support/file-stamps.ts";
import type { Logger } from "../support/log.ts";

/** How often the files are looked at: whoever renews a certificate need not tell the relay. */
const LOOK_MS = 10_000;

/**
 * What is read from files, and read again when they change. If what is new cannot be used, the former stays, and the
 * log says so once.
 */
export class WatchedFiles<T> {
  private readonly name: string;
  private readonly paths: readonly (string | undefined)[];
  private readonly read: () => T;
  private readonly clock: Clock;
  private readonly log: Logger;
  private value: T;
  private seen: string;
  private said = "";
  private timer: TimerHandle;

  /** Throws as `read` does. `name`: how the log calls it. */
  constructor(
    name: string,
    paths: readonly (string | undefined)[],
    read: () => T,
    { clock, log }: { clock: Clock; log: Logger },
  ) {
    this.name = name;
    this.paths = paths;
    this.read = read;
    this.clock = clock;
    this.log = log;
    this.value = read(); // may make a file
    this.seen = stamps(paths);
  }

  get current(): T {
    return this.value;
  }

  watch(): void {
    this.timer = this.clock.setTimeout(() => {
      this.reload(false);
      this.watch();
    }, LOOK_MS);
  }

  close(): void {
    this.clock.clearTimeout(this.timer);
  }

  /** Reads the files again; `always`: also if they look unchanged. */
  reload(always: boolean): void {
    const seen = stamps(this.paths);
    if (!always && seen === this.seen && this.said === "") return;
    try {
      this.value = this.read();
      if (seen !== this.seen || always) this.log.info({ files: this.paths }, `${this.name}: loaded`);
      this.seen = seen;
      this.said = "";
    } catch (error) {
      // A new certificate and its key are two files, of which one comes first: the next look finds both.
      const { message } = error as Error;
      if (message !== this.said) this.log.error({ err: message }, `${this.name}: what is new cannot be used`);
      this.said = message;
    }
  }
}
