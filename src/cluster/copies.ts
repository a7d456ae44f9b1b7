import type { Bus } from "../bus/types.ts";
import { setUpState } from "../relay/leg/set-up.ts";
import type { Core, SessionPort as Session, SessionKeeper } from "../relay/model/core.ts";
import type { SessionState } from "../relay/model/session-state.ts";
import { snapshot } from "../relay/session/snapshot.ts";
import type { Clock } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { TokenMap } from "../support/token-map.ts";
import type { NodeRun } from "./beat.ts";
import { CopiedEvents } from "./copied-events.ts";
import { goneLine, putLine, setUpLine, yoursLine } from "./frames.ts";
import { type FlowFacts, writeFlow } from "./handed.ts";
import { Outbox, type Parcel } from "./outbox.ts";
import { type Place, standbyFor } from "./placing.ts";

/** How many sessions are written in one turn of the event loop. */
const MOST_AT_ONCE = 200;
/** The longest state that is copied: NATS takes messages of 1 MiB, and there are other lines in a frame. */
const MAX_STATE_BYTES = 700_000;

/**
 * Keeps a copy of each standing session in the memory of one other node, its standby (P3), and of the charging events
 * that are not on the bus yet. Changes are gathered for some milliseconds. A session is written out when its frame is
 * sent. What nobody answers for is sent again. If a standby is gone, its sessions get another one.
 */
export class Copies implements SessionKeeper {
  readonly events: CopiedEvents;
  private readonly zone: string;
  private readonly peerLog: PeerLog;
  /** The nodes that may be standbys now. */
  private readonly places: () => readonly Place[];
  private readonly outbox: Outbox;
  private core: Pick<Core, "sessions"> | undefined;
  /** To be written and sent. */
  private readonly changedSessions = new TokenMap<Session>();
  /** Who waits until a session has been copied. */
  private readonly waiting = new TokenMap<(() => void)[]>();
  /** Which node has the copy of a session. */
  private readonly standbys = new TokenMap<string>();
  /** Sessions that are over, with the node that does not know yet. */
  private readonly over = new TokenMap<string>();
  /** Sessions for which there was no node. */
  private readonly alone = new TokenMap<Session>();

  constructor(options: {
    readonly self: NodeRun;
    readonly zone: string;
    readonly bus: Pick<Bus, "tell" | "hear">;
    readonly clock: Clock;
    readonly peerLog: PeerLog;
    readonly places: () => readonly Place[];
    /** Whether nothing may be sent now. */
    readonly mutes?: () => boolean;
  }) {
    const { self, zone, bus, clock, peerLog, places, mutes } = options;
    this.zone = zone;
    this.peerLog = peerLog;
    this.places = places;
    const fill = () => this.write();
    this.outbox = new Outbox({ self, bus, clock, fill, mutes, opening: (to) => this.events.opening(to) });
    const standbyOf = (session: string) => this.standbys.get(session) ?? standbyFor(session, this.places(), this.zone);
    this.events = new CopiedEvents({ outbox: this.outbox, standbyOf });
  }

  /** From now on these sessions are copied. */
  start(core: Pick<Core, "sessions">): void {
    this.core = core;
    this.outbox.start();
  }

  stop(): void {
    this.outbox.stop();
    for (const id of this.waiting.allKeys()) this.waitNoLonger(id);
  }

  /** How many sessions have a standby, which has answered or is about to. */
  get size(): number {
    return this.standbys.size;
  }

  /** How many sessions stand without a standby, because there is no node for them. */
  get withoutStandby(): number {
    return this.alone.size;
  }

  /** Whether all that is to lie at standbys lies there. */
  get idle(): boolean {
    return this.changedSessions.size + this.over.size === 0 && this.outbox.idle;
  }

  get lagMs(): number {
    return this.outbox.lagMs;
  }

  /** How often an answer did not wait any longer for its copy. */
  get late(): number {
    return this.outbox.late;
  }

  changed(session: Session): void {
    this.changedSessions.set(session.id, session);
    this.outbox.soon();
  }

  rings(session: Session): void {
    this.changed(session);
  }

  /** The session is about to be answered. Resolves when its copy is at its standby, or after some milliseconds. */
  copied(session: Session): Promise<void> | undefined {
    if (!this.outbox.started || this.places().length === 0) return undefined;
    this.changed(session);
    return new Promise((resolve) => {
      const { id } = session;
      const all = this.waiting.get(id);
      if (all) all.push(resolve);
      else this.waiting.set(id, [resolve]);
    });
  }

  /** Something was charged in it. */
  charged(id: string): void {
    const session = this.core?.sessions.get(id);
    if (session) this.changed(session);
  }

  closed({ id }: Session): void {
    this.released(id);
  }

  /** The session is over here, or goes on at another node. */
  released(id: string): void {
    const standby = this.standbys.get(id);
    this.forget(id);
    if (standby === undefined) return;
    this.over.set(id, standby);
    this.outbox.soon();
  }

  private forget(id: string): void {
    this.changedSessions.delete(id);
    this.alone.delete(id);
    this.standbys.delete(id);
    this.waitNoLonger(id);
  }

  /**
   * Gives a session to another node, as it is now. `told` hears whether that node has it. False: there is no node, and
   * nothing was done.
   */
  give(id: string, now: number, state: SessionState, flow: FlowFacts | undefined, told: Parcel): boolean {
    const places = this.places();
    const before = this.standbys.get(id);
    const to = places.some(({ node }) => node === before) ? before! : standbyFor(id, places, this.zone);
    const line = putLine(id, now, state);
    if (to === undefined || !this.outbox.started || isTooLong(line)) return false;
    this.forget(id);
    if (before !== undefined && before !== to) this.over.set(id, before);
    const lost = (node: string) => {
      // The copy from before may still be there. When the session ends here, it has to go.
      if (!this.standbys.get(id) && this.places().some((place) => place.node === to)) this.standbys.set(id, to);
      told.lost(node);
    };
    this.outbox.add(to, line + yoursLine(id, flow && writeFlow(flow)), { arrived: () => told.arrived?.(), lost });
    return true;
  }

  /**
   * Others had called this node dead: they have taken up these sessions, and `by` have given the other copies away. A
   * copy that was on its way meanwhile may have come to a standby after that. It must not stay there: if this node died
   * one day, the session would come back.
   */
  takenElsewhere(sessions: readonly string[], by: readonly string[]): void {
    const late = sessions.map((id) => [id, this.standbys.get(id)] as const);
    for (const id of sessions) this.forget(id);
    for (const node of by) this.gone(node);
    for (const [id, standby] of late) if (standby !== undefined) this.over.set(id, standby);
    this.outbox.soon();
  }

  /** Copies that lie at nodes which are about to stop go to others. */
  avoidLeaving(): void {
    const staying = new Set(this.places().map(({ node }) => node));
    for (const id of this.standbys.allKeys()) {
      const before = this.standbys.get(id)!;
      const session = this.core?.sessions.get(id);
      if (staying.has(before) || !session) continue;
      this.standbys.delete(id);
      this.over.set(id, before);
      this.changed(session);
    }
  }

  /** Another node is there, which may be a standby. */
  joined(): void {
    for (const session of this.alone.values()) this.changedSessions.set(session.id, session);
    if (this.alone.size > 0) this.outbox.soon();
  }

  /** A node is gone, and so are the copies that it had. */
  gone(node: string): void {
    for (const id of this.standbys.allKeys()) {
      if (this.standbys.get(id) !== node) continue;
      this.standbys.delete(id);
      const session = this.core?.sessions.get(id);
      if (session) this.changedSessions.set(id, session);
    }
    this.outbox.gone(node);
    this.events.gone(node);
    for (const id of this.over.allKeys()) if (this.over.get(id) === node) this.over.delete(id);
    this.outbox.soon();
  }

  private write(): void {
    const places = this.places();
    const over = this.over.allKeys().slice(0, MOST_AT_ONCE);
    for (const id of over) {
      this.outbox.add(this.over.get(id)!, goneLine(id), new Gone(this, id));
      this.over.delete(id);
    }
    let most = MOST_AT_ONCE - over.length;
    // Where somebody waits comes first.
    if (this.waiting.size > 0 && this.changedSessions.size > most)
      for (const id of this.waiting.allKeys()) {
        const session = this.changedSessions.get(id);
        if (session && most-- > 0) this.copy(session, places);
      }
    for (const session of this.changedSessions.values().slice(0, Math.max(0, most))) this.copy(session, places);
    if (this.over.size + this.changedSessions.size > 0) this.outbox.soon();
  }

  private copy(session: Session, places: readonly Place[]): void {
    const { id } = session;
    this.changedSessions.delete(id);
    const state = session.closed ? undefined : snapshot(session);
    const setUp = state ? undefined : setUpState(session);
    const standby = this.standbys.get(id) ?? standbyFor(id, places, this.zone);
    if (!(state ?? setUp) || standby === undefined) {
      // If it does not stand yet: when it does, `changed` is called again.
      if (state) this.alone.set(id, session);
      this.waitNoLonger(id);
      return;
    }
    const line = state ? putLine(id, session.now(), state) : setUpLine(id, setUp!);
    if (isTooLong(line)) {
      this.peerLog.error("cluster: a session is too large to be copied", "", { session: id, chars: line.length });
      this.waitNoLonger(id);
      return;
    }
    this.alone.delete(id);
    this.standbys.set(id, standby);
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    this.outbox.add(standby, line, new Put(this, id), waiting);
  }

  private waitNoLonger(id: string): void {
    const waiting = this.waiting.get(id);
    if (!waiting) return;
    this.waiting.delete(id);
    for (const goOn of waiting) goOn();
  }

  /** A copy was lost on its way. The session is sent again as it is then. */
  lost(id: string, to: string): void {
    const session = this.core?.sessions.get(id);
    if (!session || this.standbys.get(id) !== to) return;
    this.changed(session);
  }

  lostEnd(id: string, to: string): void {
    this.over.set(id, to);
    this.outbox.soon();
  }
}

/** A character takes three bytes at most. */
const isTooLong = (line: string): boolean =>
  line.length > MAX_STATE_BYTES / 3 && Buffer.byteLength(line) > MAX_STATE_BYTES;

class Put {
  protected readonly copies: Copies;
  protected readonly id: string;

  constructor(copies: Copies, id: string) {
    this.copies = copies;
    this.id = id;
  }

  lost(to: string): void {
    this.copies.lost(this.id, to);
  }
}

class Gone extends Put {
  override lost(to: string): void {
    this.copies.lostEnd(this.id, to);
  }
}
