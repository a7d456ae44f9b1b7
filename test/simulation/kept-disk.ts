import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { KeptSessions, readKept } from "../../src/node/kept-sessions.ts";
import type { SessionState } from "../../src/relay/model/session-state.ts";
import type { TestClock } from "../support/test-clock.ts";

const COMMIT_MS = 50;

/**
 * What the journal has on disk of sessions, without a disk: each event is a commit, and there is one soon where
 * something is to be kept.
 */
export class KeptDisk {
  readonly sessions: KeptSessions;
  /** Writes fail. */
  broken = false;
  /** Records that were written so far. */
  writes = 0;
  private readonly texts = new Map<string, string>();
  private readonly clock: TestClock;
  private soon = false;

  constructor(clock: TestClock) {
    this.clock = clock;
    this.sessions = new KeptSessions(() => this.commitSoon());
  }

  get entries(): [name: string, text: string][] {
    return [...this.texts];
  }

  /** Names that are on it. */
  get names(): string[] {
    return [...this.texts.keys()];
  }

  commit(events: readonly ChargingEvent[]): void {
    const changes = this.sessions.changes(events);
    if (!changes) return;
    if (this.broken) {
      this.sessions.failed(changes);
      this.commitSoon();
      return;
    }
    this.writes += changes.puts.length;
    for (const [name, text] of changes.puts) this.texts.set(name, text);
    for (const name of changes.removals) this.texts.delete(name);
  }

  /** What stands there of a session; undefined: nothing. */
  read(id: string): SessionState | undefined {
    const state = readKept(this.texts).find((one) => one.id === id)?.state;
    if (state?.ok === false) throw new Error(`what is kept of ${id} cannot be read: ${state.error}`);
    return state?.value;
  }

  private commitSoon(): void {
    if (this.soon) return;
    this.soon = true;
    this.clock.setTimeout(() => {
      this.soon = false;
      this.commit([]);
    }, COMMIT_MS);
  }
}
