import { chargeStateOf } from "../charging/charges/book-state.ts";
import { chargeKey } from "../charging/events/charge-fields.ts";
import { eventProblem } from "../charging/events/event-fields.ts";
import { type ChargeMade, type ChargingEvent, idOf, sessionEnded, sessionStarted } from "../charging/events/events.ts";
import { endSetUp, endUnderWay, readSetUpState } from "../relay/leg/set-up.ts";
import type { Core } from "../relay/model/core.ts";
import { endedByText } from "../relay/model/endings.ts";
import { readSessionState, type SessionState } from "../relay/model/session-state.ts";
import { goOn, restore } from "../relay/session/snapshot.ts";
import { readJson } from "../support/json.ts";
import type { Logger } from "../support/log.ts";
import type { Flow } from "../transport/types.ts";
import type { NodeRun } from "./beat.ts";
import type { Copy, Legacy } from "./holder.ts";
import { DEAD_MS } from "./patience.ts";

/** How many sessions are taken up in one turn of the event loop, and for how long; then it does other things. */
const SLICE = 50;
const SLICE_MS = 5;
const SLICE_EVERY_MS = 1;
/** How many sessions are remembered that were taken up. */
const MOST_REMEMBERED = 400_000;
/** No event is nested as deep. */
const EVENT_DEPTH = 12;

interface Waiting {
  readonly copy: Copy;
  readonly from: NodeRun;
  readonly refused: Set<string>;
  /** What it was charged, as far as that is among the node's events. */
  readonly charged?: readonly ChargeMade[] | undefined;
}

/**
 * Goes on with the sessions of a node that is dead, from the copies that this node has of them (P3): their clocks run
 * on, both ends are asked whether they are still there, and hear where the session is from now on. What that node may
 * not have put on the bus is put on record here; an event that comes twice is billed once.
 */
export class TakeUp {
  private readonly core: Core;
  private readonly log: Logger;
  private readonly tookUp: () => void;
  private queue: Waiting[] = [];
  /** How many of them are done. */
  private done = 0;
  private stopped = false;
  /** Since the start. */
  taken = 0;
  /** Sessions that were taken up; the oldest are forgotten. */
  private readonly known = new Set<string>();

  /** `tookUp` is called when some are here now. */
  constructor(core: Core, tookUp: () => void = () => {}) {
    this.tookUp = tookUp;
    this.core = core;
    this.log = core.log;
  }

  /** Sessions are waiting to be taken up. */
  get busy(): boolean {
    return this.queue.length > 0;
  }

  stop(): void {
    this.stopped = true;
  }

  /** Takes up what a dead node has left here. Nothing more is heard of that run of the node. */
  take(from: NodeRun, { copies, events }: Legacy): void {
    if (this.stopped || copies.length + events.length === 0) return;
    const { over, charged } = this.record(from, events);
    const idle = this.queue.length === 0;
    const refused = new Set<string>();
    for (const copy of copies) {
      if (copy.isSetUp) {
        this.queue.push({ copy, from, refused });
        continue;
      }
      this.remember(copy.session); // also one that is here already: the other node lets go of it when it comes back
      if (!over.has(copy.session)) this.queue.push({ copy, from, refused, charged: charged.get(copy.session) });
    }
    if (copies.length > 0)
      this.log.warn(
        { node: from.node, sessions: copies.length, events: events.length },
        "cluster: sessions of a dead node are taken up",
      );
    if (idle) this.next();
  }

  /**
   * The sessions that are here, or were here until they ended, and that other nodes have had. Of each node: a session
   * may have had many owners, and none of them knows them all.
   */
  get all(): string[] {
    return [...this.known];
  }

  /**
   * These sessions go on here from this node's disk: whoever else has them, and was silent meanwhile, lets go of them.
   */
  restored(sessions: readonly string[]): void {
    for (const session of sessions) this.remember(session);
  }

  /** The session goes on at another node. */
  letGo(session: string): void {
    this.known.delete(session);
  }

  private remember(session: string): void {
    this.known.delete(session);
    if (this.known.size >= MOST_REMEMBERED) this.known.delete(this.known.keys().next().value!);
    this.known.add(session);
  }

  /**
   * Puts a dead node's events on record. Returns the sessions whose end is among them, and what others were charged.
   */
  private record(from: NodeRun, events: readonly string[]): { over: Set<string>; charged: Map<string, ChargeMade[]> } {
    const over = new Set<string>();
    const charged = new Map<string, ChargeMade[]>();
    for (const text of events) {
      const read = readJson(text, EVENT_DEPTH);
      const why = read.ok ? eventProblem(read.value) : read.error;
      const event = why === undefined && read.ok ? (read.value as ChargingEvent) : undefined;
      if (!event || event.id !== idOf(event)) {
        this.core.peerLog.error("cluster: a dead node's event that cannot be billed", from.node, { why });
        continue;
      }
      this.append(event);
      if (event.type === "session.ended") over.add(event.session.id);
      if (event.type === "session.changed") over.add(event.from.id);
      if (event.type !== "charge.made") continue;
      const before = charged.get(event.session.id);
      if (before) before.push(event);
      else charged.set(event.session.id, [event]);
    }
    return { over, charged };
  }

  private append(event: ChargingEvent): void {
    const { recorder, laterRecords } = this.core;
    recorder.append(event).catch(() => laterRecords.add(() => recorder.append(event)));
  }

  private next(): void {
    if (this.stopped) return;
    const { clock } = this.core;
    const until = clock.monotonic() + SLICE_MS;
    const most = Math.min(this.queue.length, this.done + SLICE);
    while (this.done < most && clock.monotonic() < until) {
      const { copy, from, refused, charged } = this.queue[this.done++]!;
      if (copy.isSetUp) this.endSetUp(copy, from, refused);
      else this.takeOne(copy, from, { charged });
    }
    this.tookUp();
    if (this.done < this.queue.length) clock.setTimeout(() => this.next(), SLICE_EVERY_MS);
    else {
      this.queue = [];
      this.done = 0;
    }
  }

  /** A call that rang when its node died ends here. */
  private endSetUp({ session, state: text }: Copy, { node }: NodeRun, refused: Set<string>): void {
    const read = readSetUpState(text);
    if (read.ok) endSetUp(this.core, read.value, refused);
    else this.core.peerLog.error("cluster: a call in set-up cannot be read", node, { session, why: read.error });
  }

  /** Takes a session that its node gives away. `flow`: by which its client came. False: it cannot go on here. */
  takeGiven(copy: Copy, from: NodeRun, flow: Flow | undefined): boolean {
    if (this.stopped || this.core.draining) return false;
    if (!this.takeOne(copy, from, { isAlive: true, flow })) return false;
    this.remember(copy.session);
    this.tookUp();
    return true;
  }

  private takeOne(
    { session: id, state: text, offsetMs }: Copy,
    { node }: NodeRun,
    {
      isAlive = false,
      flow,
      charged = [],
    }: {
      readonly isAlive?: boolean;
      readonly flow?: Flow | undefined;
      readonly charged?: readonly ChargeMade[] | undefined;
    },
  ): boolean {
    const { core } = this;
    if (core.sessions.has(id)) return true;
    const read = readSessionState(text);
    const why = !read.ok ? read.error : read.value.facts.id === id ? undefined : `it is of ${read.value.facts.id}`;
    if (!read.ok || why !== undefined) {
      this.known.delete(id); // its node may go on with it, if that comes back
      this.log.error({ session: id, node, why }, "cluster: a session of another node cannot be read");
      return false;
    }
    const now = core.clock.monotonic() + offsetMs;
    const state = byOwnTimelines(withCharges(read.value, charged), now - core.timelines.first.now());
    const { startedAt } = state.chart.context;
    try {
      const lastHeardAt = Math.max(startedAt ?? 0, now - DEAD_MS);
      const session = restore(core, state, { elsewhere: true, flow, ...(!isAlive && { lastHeardAt }) });
      this.taken++;
      if (startedAt !== null) this.append(sessionStarted(state.facts, startedAt));
      if (!isAlive && state.underWay !== undefined) endUnderWay(core, state.underWay);
      goOn(session, state);
      return true;
    } catch (error) {
      core.sessions.get(id)?.release();
      if (isAlive) {
        this.log.error({ session: id, node, err: error }, "cluster: a session of another node could not go on here");
        return false;
      }
      this.log.error({ session: id, node, err: error }, "cluster: a session of a dead node could not go on: it ends");
      if (startedAt !== null) this.append(sessionEnded(state.facts, startedAt, now, endedByText("fault")));
      return false;
    }
  }
}

/**
 * An event arrives before the copy of the session that knows of it. Without it in the book, the same charge that comes
 * again would be a new one: one too many for a limit, or for a balance that has paid for it already.
 */
function withCharges(state: SessionState, charged: readonly ChargeMade[]): SessionState {
  if (charged.length === 0) return state;
  const { made = [], refusals = 0, ...book } = state.book ?? {};
  const known = new Set(made.map(({ id }) => chargeKey(id)));
  const fresh = charged.filter(({ charge }) => !known.has(chargeKey(charge.id))).map(chargeStateOf);
  return { ...state, book: { ...book, refusals, made: [...made, ...fresh] } };
}

/** The session's timeline is so far ahead of this relay's first one. */
function byOwnTimelines({ facts, ...state }: SessionState, clockStepMs: number): SessionState {
  const { clockStepMs: _atItsOwner, ...rest } = facts;
  return { ...state, facts: { ...rest, ...(clockStepMs !== 0 && { clockStepMs }) } };
}
