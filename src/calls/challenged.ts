import type { SipRequest } from "../sip/message.ts";
import type { Timeline } from "../support/timeline.ts";
import { WireMap } from "../support/wire-map.ts";
import type { RecordSource } from "./open-record.ts";

/** An INVITE that got a challenge. */
export interface ChallengedInvite {
  readonly request: SipRequest;
  readonly source: RecordSource;
  readonly timeline: Timeline;
  /** When it came, by that timeline. */
  readonly at: number;
}

/** A client has so long to come again: as long as a transaction may take (RFC 3261 §17.1.1.2, timer B). */
const AGAIN_WITHIN_MS = 32_000;
/** So many are kept, whoever sends them: they hold their messages in memory. */
const MOST = 500;

/**
 * INVITEs that got a challenge, until their Call-ID comes again with credentials. One that never does is of a client
 * with a wrong set-up, whose operator asks what became of it. Challenges are on the path of each call, so this is two
 * tables that change places, without a timer: they are looked at with the next challenge, and when somebody asks.
 */
export class Challenged {
  /** How many were not kept, since there were too many. */
  leftOut = 0;
  private readonly gone: (invite: ChallengedInvite) => void;
  private younger = new WireMap<ChallengedInvite>();
  private older = new WireMap<ChallengedInvite>();
  /** When the younger ones were begun, by the monotonic clock. */
  private since = 0;

  /** `gone`: called with each that did not come again. */
  constructor(gone: (invite: ChallengedInvite) => void) {
    this.gone = gone;
  }

  get size(): number {
    return this.younger.size + this.older.size;
  }

  note(request: SipRequest, source: RecordSource, timeline: Timeline, now: number): void {
    this.look(now);
    if (this.size >= MOST) this.leftOut++;
    else this.younger.set(request.callId, { request, source, timeline, at: timeline.now() });
  }

  /** An INVITE of that Call-ID came with credentials. */
  cameAgain(callId: string): void {
    if (this.size > 0 && !this.younger.delete(callId)) this.older.delete(callId);
  }

  /** Lets go of those that have had their time. */
  look(now: number): void {
    const passed = now - this.since;
    if (passed < AGAIN_WITHIN_MS) return;
    const over = this.older.size > 0 ? this.older.values() : [];
    // Those that came just before now have as long again.
    this.older.clear();
    [this.older, this.younger] = [this.younger, this.older];
    this.since = now;
    for (const invite of over) this.gone(invite);
    if (passed >= 2 * AGAIN_WITHIN_MS) this.close();
  }

  /** Lets go of all. */
  close(): void {
    for (const table of [this.older, this.younger]) {
      const over = table.values();
      table.clear();
      for (const invite of over) this.gone(invite);
    }
  }
}
