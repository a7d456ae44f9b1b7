import type { Clock } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import type { DeadLetter } from "../events/dead-letter.ts";

/** How many lines an hour. All events are kept with the dead letters in any case. */
const MOST = 100;
const HOUR_MS = 3_600_000;
/** How many characters of an event's text are logged. The store has all of it. */
const CHARS = 2_000;

/**
 * Logs which events cannot be billed. Anybody who may publish can make any number of such events, and must not fill the
 * log.
 */
export class LetterLog {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly log: Logger;
  private since = Number.NEGATIVE_INFINITY;
  private lines = 0;
  private more = 0;

  constructor(clock: Pick<Clock, "monotonic">, log: Logger) {
    this.clock = clock;
    this.log = log;
  }

  say({ id, event, reason }: DeadLetter): void {
    const now = this.clock.monotonic();
    if (now - this.since >= HOUR_MS) {
      if (this.more > 0)
        this.log.error({ events: this.more }, "billing: so many more events were put aside in an hour");
      this.since = now;
      this.lines = 0;
      this.more = 0;
    }
    if (this.lines++ < MOST)
      this.log.error(
        { id, event: event.slice(0, CHARS), reason },
        "billing: an event cannot be billed and is put aside",
      );
    else if (this.more++ === 0)
      this.log.error(
        { id },
        "billing: many events cannot be billed; those of this hour are put aside without a line each",
      );
  }
}
