import { type SessionEnded, sessionEnded } from "../charging/events/events.ts";
import type { Config } from "../config/schema.ts";
import { endUnderWay } from "../relay/leg/set-up.ts";
import type { Core, SessionPort as Session } from "../relay/model/core.ts";
import { endedByText } from "../relay/model/endings.ts";
import type { SessionState } from "../relay/model/session-state.ts";
import { goOn, restore } from "../relay/session/snapshot.ts";
import type { Logger } from "../support/log.ts";
import { shown } from "../support/peer-log.ts";
import type { KeptSession, KeptSessions } from "./kept-sessions.ts";
import { endOf, type Heartbeat } from "./recovery.ts";

/** How far a clock may seem to have run back: a file's time is a fraction of a second behind. */
const CLOCK_MS = 1_000;
/** How many sessions probe their ends at once; the next ones do so a moment later. */
const SLICE = 100;
const SLICE_EVERY_MS = 10;

/**
 * The sessions of a relay that was killed, as the next relay finds them. Some go on. The others end, because they were
 * not set up, cannot be read, or the relay was away for too long.
 */
export class SessionsBefore {
  /**
   * Sessions of which an end had not come back to the process before, after the kill before that: when it was last
   * heard of. By id, by the session's timeline.
   */
  readonly heardUntil = new Map<string, number>();
  private readonly states = new Map<string, SessionState>();
  private readonly keeper: KeptSessions;
  private readonly heartbeat: Pick<Heartbeat, "downMs" | "firstNow" | "lastBeatAt">;
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
    const { downMs } = heartbeat;
    const mostMs = recovery === "end" ? Number.NEGATIVE_INFINITY : recovery.withinS * 1000;
    const inTime = downMs !== undefined && downMs > -CLOCK_MS && downMs <= mostMs;
    for (const one of found) {
      keeper.found(one);
      const { id, state } = one;
      if (state.ok) this.noteHeard(state.value);
      if (inTime && state.ok) this.states.set(id, state.value);
      else keeper.drop(id);
      if (!state.ok)
        log.error({ session: id, why: state.error }, "a session of the relay before cannot be read: it ends");
    }
    if (!inTime && found.length > 0 && recovery !== "end")
      log.warn({ sessions: found.length, downMs }, "the relay was away for too long: its sessions end");
    this.keeper = keeper;
    this.heartbeat = heartbeat;
    this.log = log;
  }

  private noteHeard({ facts, client, server }: SessionState): void {
    const until = Math.min(client.unheardSince ?? Infinity, server.unheardSince ?? Infinity);
    if (until < Infinity) this.heardUntil.set(facts.id, until);
  }

  /** Ids of the sessions that go on. */
  get goingOn(): ReadonlySet<string> {
    return new Set(this.states.keys());
  }

  /** The present time on that relay's first timeline, by which the sessions go on; undefined: none goes on. */
  get firstNow(): number | undefined {
    return this.states.size > 0 ? this.heartbeat.firstNow : undefined;
  }

  /**
   * Leaves out sessions that have ended: an older Tollgate, which keeps no sessions, may have run in between. `isOver`
   * is asked about the sessions whose clock runs.
   */
  async leaveOut(isOver: (ids: readonly string[]) => Promise<ReadonlySet<string>>): Promise<void> {
    const run = [...this.states.values()].filter(({ chart }) => chart.context.startedAt !== null);
    for (const id of await isOver(run.map(({ facts }) => facts.id))) {
      const facts = factsOf(this.states.get(id)!);
      this.states.delete(id);
      this.keeper.drop(id);
      this.log.warn(facts, "a session of a relay before has ended by now: it does not go on");
    }
  }

  /** These sessions go on at another node, so they neither go on nor end here. */
  elsewhere(ids: ReadonlySet<string>): void {
    for (const id of ids) this.states.delete(id);
    for (const id of ids) this.keeper.goesOnElsewhere(id);
    if (ids.size > 0) this.log.warn({ sessions: ids.size }, "sessions of the relay before go on at other nodes");
  }

  /** Makes the sessions, before any message comes. Nothing is sent. */
  restore(core: Core): void {
    for (const [id, state] of this.states) {
      const { startedAt } = state.chart.context;
      const lastHeardAt = endOf(state.facts, startedAt ?? 0, this.heartbeat.lastBeatAt);
      const endedAt = endOf(state.facts, startedAt ?? 0, this.heartbeat.lastBeatAt, this.heardUntil.get(id));
      try {
        this.restored.push({ session: restore(core, state, { lastHeardAt }), state });
        core.counters.restored++;
      } catch (error) {
        this.log.error({ ...factsOf(state), err: error }, "a session of the relay before could not go on: it ends");
        core.sessions.get(id)?.release();
        if (startedAt === null) this.keeper.drop(id);
        else this.end(core, sessionEnded(state.facts, startedAt, endedAt, endedByText("fault")));
      }
    }
    const sessions = this.restored.length;
    if (sessions > 0) this.log.warn({ sessions }, "sessions of the relay before go on: it stopped without warning");
  }

  private end({ recorder, laterRecords }: Core, event: SessionEnded): void {
    recorder.append(event).catch(() => laterRecords.add(() => recorder.append(event)));
  }

  /** Lets the sessions go on: does what is due, and asks their ends whether they are still there. */
  goOn(core: Core): void {
    for (const { session, state } of this.restored.splice(0, SLICE)) {
      if (session.closed) continue;
      if (state.underWay !== undefined) endUnderWay(core, state.underWay);
      goOn(session, state);
    }
    if (this.restored.length > 0) core.clock.setTimeout(() => this.goOn(core), SLICE_EVERY_MS);
  }
}

const factsOf = ({ facts: { id, call }, user, client }: SessionState) => ({
  call,
  callId: shown(client.callId, 200),
  session: id,
  user,
});
