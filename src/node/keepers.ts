import type { ChargingEvent } from "../charging/events/events.ts";
import type { Copies } from "../cluster/copies.ts";
import type { SessionKeeper } from "../relay/model/core.ts";
import type { Recorder } from "../relay/model/ports.ts";

/** One keeper for both: the one that keeps sessions on disk, and the one that keeps copies on another node. */
export function together(keepers: readonly (SessionKeeper | undefined)[]): SessionKeeper | undefined {
  const all = keepers.filter((keeper) => keeper !== undefined);
  if (all.length < 2) return all[0];
  return {
    changed: (session) => {
      for (const keeper of all) keeper.changed(session);
    },
    copied: (session) => {
      const waits = all.map((keeper) => keeper.copied?.(session)).filter((wait) => wait !== undefined);
      return waits.length < 2 ? waits[0] : Promise.all(waits).then(() => {});
    },
    rings: (session) => {
      for (const keeper of all) keeper.rings?.(session);
    },
    closed: (session) => {
      for (const keeper of all) keeper.closed(session);
    },
  };
}

/**
 * Puts a copy of what is recorded at a standby, too. What is answered waits for both, so that a machine that is lost
 * with its disk loses nothing that was answered.
 */
export class CopiedRecorder implements Recorder {
  private readonly recorder: Recorder;
  private readonly copies: Copies;
  private readonly waits: boolean;

  constructor(recorder: Recorder, copies: Copies, waits: boolean) {
    this.recorder = recorder;
    this.copies = copies;
    this.waits = waits;
  }

  append(event: ChargingEvent): Promise<void> {
    const recorded = this.recorder.append(event);
    const copied = this.copies.events.record(event);
    const answered = copied && this.waits ? recorded.then(() => copied) : recorded;
    // Not before: a book's state leaves out what is not recorded yet.
    if (event.type === "charge.made") void answered.then(() => this.copies.charged(event.session.id), ignore);
    return answered;
  }

  get full(): boolean {
    return this.recorder.full;
  }
}

/** Whoever appended the event hears that it failed. */
const ignore = (): void => {};
