import type { Config } from "../config/schema.ts";
import type { Core } from "../relay/model/core.ts";
import type { SessionState } from "../relay/model/session-state.ts";
import type { Session } from "../relay/session/session.ts";
import { goOn, restore } from "../relay/session/snapshot.ts";
import type { Logger } from "../support/log.ts";
import type { KeptSession, KeptSessions } from "./kept-sessions.ts";
import type { Heartbeat } from "./recovery.ts";

/** So many sessions ask their ends at once; the next ones a moment later. */
const SLICE = 100;
const SLICE_EVERY_MS = 10;

/**
 * The sessions of a relay that was killed, as the next one finds them: those that go on, and those that end, since they were set up no further, cannot be read, or
 * the relay was away for too long.
 */
export class SessionsBefore {
  /** Ids of those that go on. */
  readonly goingOn: ReadonlySet<string>;
  /** What it is now by that relay's first timeline, by which they go on; undefined: none does. */
  readonly firstNow: number | undefined;
  private readonly states: readonly SessionState[];
  private readonly lastBeatAt: number;
  private readonly log: Logger;
  private restored: { readonly session: Session; readonly state: SessionState }[] = [];

  constructor(options: {
    readonly found: readonly KeptSession[];
    readonly keeper: KeptSessions;
    readonly recovery: Config["recovery"];
    readonly heartbeat: Pick<Heartbeat, "downMs" | "firstNow" | "lastBeatAt">;
    readonly log: Logger;
  }) {
    const { found, keeper, recovery, heartbeat, log } = options;
    const { downMs, firstNow, lastBeatAt = 0 } = heartbeat;
    const inTime = recovery !== "end" && downMs !== undefined && downMs >= 0 && downMs <= recovery.withinS * 1000;
    const states: SessionState[] = [];
    for (const one of found) {
      keeper.found(one);
      const { id, state } = one;
      if (inTime && state.ok) states.push(state.value);
      else keeper.drop(id);
      if (!state.ok)
        log.error({ session: id, why: state.error }, "a session of the relay before cannot be read: it ends");
    }
    if (!inTime && found.length > 0 && recovery !== "end")
      log.warn({ sessions: found.length, downMs }, "the relay was away for too long: its sessions end");
    this.states = states;
    this.goingOn = new Set(states.map(({ facts }) => facts.id));
    this.firstNow = states.length > 0 ? firstNow : undefined;
    this.lastBeatAt = lastBeatAt;
    this.log = log;
  }

  /** Makes the sessions, before any message comes. Nothing is sent. */
  restore(core: Core): void {
    for (const state of this.states) {
      const { id, clockStepMs = 0 } = state.facts;
      // By the session's own timeline; see `endOf` in recovery.ts.
      const lastHeardAt = Math.max(state.chart.context.startedAt ?? 0, this.lastBeatAt + clockStepMs);
      try {
        this.restored.push({ session: restore(core, state, lastHeardAt), state });
        core.counters.restored++;
      } catch (error) {
        this.log.error({ session: id, err: error }, "a session of the relay before could not go on");
        core.sessions.get(id)?.crashed(error);
      }
    }
    const sessions = this.restored.length;
    if (sessions > 0) this.log.warn({ sessions }, "sessions of the relay before go on: it stopped without warning");
  }

  /** Has them go on: what is due is done, and their ends are asked whether they are still there. */
  goOn(core: Core): void {
    for (const { session, state } of this.restored.splice(0, SLICE)) if (!session.closed) goOn(session, state);
    if (this.restored.length > 0) core.clock.setTimeout(() => this.goOn(core), SLICE_EVERY_MS);
  }
}
