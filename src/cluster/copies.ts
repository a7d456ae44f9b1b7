import type { Bus } from "../bus/types.ts";
import type { Core, SessionPort as Session, SessionKeeper } from "../relay/model/core.ts";
import { snapshot } from "../relay/session/snapshot.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { TokenMap } from "../support/token-map.ts";
import type { NodeRun } from "./beat.ts";
import { acksTopic, copiesTopic, goneLine, headOf, putLine, readAck } from "./frames.ts";
import { type Place, standbyFor } from "./placing.ts";

/** Changes are gathered for so long, so that many sessions share a frame. */
const GATHER_MS = 5;
/** How many sessions are written in one turn of the event loop. */
const MOST_AT_ONCE = 200;
/** A frame that would become longer than this is sent first. Most sessions take 2 kB. */
const FRAME_CHARS = 100_000;
/** The longest state that is copied: NATS takes messages of 1 MiB. */
const MAX_STATE_CHARS = 700_000;
/** A frame without an answer is sent again after so long, with its sessions as they are then. */
const AGAIN_MS = 1_000;

/** A frame that was sent and not answered yet. */
interface Sent {
  readonly to: string;
  readonly at: number;
  readonly puts: readonly string[];
  readonly gone: readonly string[];
}

/** A frame that is being written. */
interface Draft {
  text: string;
  readonly puts: string[];
  readonly gone: string[];
}

/**
 * Keeps a copy of each standing session in the memory of one other node, its standby (P3). Changes are gathered for
 * some milliseconds. A session is written out when its frame is sent. A frame that nobody answers is sent again. If a
 * standby is gone, its sessions get another one.
 */
export class Copies implements SessionKeeper {
  private readonly self: NodeRun;
  private readonly zone: string;
  private readonly bus: Pick<Bus, "tell" | "hear">;
  private readonly clock: Clock;
  private readonly peerLog: PeerLog;
  /** The nodes that may be standbys now. */
  private readonly places: () => readonly Place[];
  private core: Pick<Core, "sessions"> | undefined;
  /** To be written and sent. */
  private readonly changedSessions = new TokenMap<Session>();
  /** Which node has the copy of a session. */
  private readonly standbys = new TokenMap<string>();
  /** Sessions that are over, with the node that does not know yet. */
  private readonly over = new TokenMap<string>();
  /** Sessions for which there was no node. */
  private readonly alone = new TokenMap<Session>();
  private readonly sent = new Map<number, Sent>();
  private number = 0;
  private timer: TimerHandle;
  private againTimer: TimerHandle;
  private deafen: (() => void) | undefined;
  private lastLagMs = 0;

  constructor(options: {
    readonly self: NodeRun;
    readonly zone: string;
    readonly bus: Pick<Bus, "tell" | "hear">;
    readonly clock: Clock;
    readonly peerLog: PeerLog;
    readonly places: () => readonly Place[];
  }) {
    const { self, zone, bus, clock, peerLog, places } = options;
    this.self = self;
    this.zone = zone;
    this.bus = bus;
    this.clock = clock;
    this.peerLog = peerLog;
    this.places = places;
  }

  /** From now on these sessions are copied. */
  start(core: Pick<Core, "sessions">): void {
    this.core = core;
    this.deafen = this.bus.hear?.(acksTopic(this.self.node), (text) => this.answered(text));
    this.lookAgain();
  }

  stop(): void {
    this.deafen?.();
    this.deafen = undefined;
    this.clock.clearTimeout(this.timer);
    this.clock.clearTimeout(this.againTimer);
    this.timer = undefined;
  }

  /** How many sessions have a standby, which has answered or is about to. */
  get size(): number {
    return this.standbys.size;
  }

  /** How many sessions stand without a standby, because there is no node for them. */
  get withoutStandby(): number {
    return this.alone.size;
  }

  /** How long the oldest frame has waited for its answer. With no frame on its way: how long the last answer took. */
  get lagMs(): number {
    const oldest = this.sent.values().next().value;
    return oldest ? this.clock.monotonic() - oldest.at : this.lastLagMs;
  }

  changed(session: Session): void {
    this.changedSessions.set(session.id, session);
    this.sendSoon();
  }

  /** Something was charged in it. */
  charged(id: string): void {
    const session = this.core?.sessions.get(id);
    if (session) this.changed(session);
  }

  closed({ id }: Session): void {
    this.changedSessions.delete(id);
    this.alone.delete(id);
    const standby = this.standbys.get(id);
    if (standby === undefined) return;
    this.standbys.delete(id);
    this.over.set(id, standby);
    this.sendSoon();
  }

  /** Another node is there, which may be a standby. */
  joined(): void {
    for (const session of this.alone.values()) this.changedSessions.set(session.id, session);
    if (this.alone.size > 0) this.sendSoon();
  }

  /** A node is gone, and so are the copies that it had. */
  gone(node: string): void {
    for (const id of this.over.allKeys()) if (this.over.get(id) === node) this.over.delete(id);
    for (const [number, { to }] of this.sent) if (to === node) this.sent.delete(number);
    for (const id of this.standbys.allKeys()) {
      if (this.standbys.get(id) !== node) continue;
      this.standbys.delete(id);
      const session = this.core?.sessions.get(id);
      if (session) this.changedSessions.set(id, session);
    }
    this.sendSoon();
  }

  private sendSoon(): void {
    if (this.timer === undefined && this.deafen) this.timer = this.clock.setTimeout(() => this.send(), GATHER_MS);
  }

  private send(): void {
    this.timer = undefined;
    const drafts = new Map<string, Draft>();
    const places = this.places();
    const over = this.over.allKeys().slice(0, MOST_AT_ONCE);
    for (const id of over) {
      this.add(this.over.get(id)!, goneLine(id), drafts).gone.push(id);
      this.over.delete(id);
    }
    const changed = this.changedSessions.values().slice(0, MOST_AT_ONCE - over.length);
    for (const session of changed) this.copy(session, places, drafts);
    for (const [to, draft] of drafts) this.post(to, draft);
    if (this.over.size + this.changedSessions.size > 0) this.sendSoon();
  }

  private copy(session: Session, places: readonly Place[], drafts: Map<string, Draft>): void {
    const { id } = session;
    this.changedSessions.delete(id);
    if (session.closed) return;
    const state = snapshot(session);
    if (!state) return; // it does not stand yet; when it does, `changed` is called again
    const standby = this.standbys.get(id) ?? standbyFor(id, places, this.zone);
    if (standby === undefined) {
      this.alone.set(id, session);
      return;
    }
    const line = putLine(id, session.now(), state);
    if (line.length > MAX_STATE_CHARS) {
      this.peerLog.error("cluster: a session is too large to be copied", "", { session: id, chars: line.length });
      return;
    }
    this.alone.delete(id);
    this.standbys.set(id, standby);
    this.add(standby, line, drafts).puts.push(id);
  }

  private add(to: string, line: string, drafts: Map<string, Draft>): Draft {
    let draft = drafts.get(to);
    if (draft && draft.text.length + line.length > FRAME_CHARS) {
      this.post(to, draft);
      draft = undefined;
    }
    if (!draft) {
      draft = { text: "", puts: [], gone: [] };
      drafts.set(to, draft);
    }
    draft.text += line;
    return draft;
  }

  private post(to: string, { text, puts, gone }: Draft): void {
    const { node, epoch } = this.self;
    const number = ++this.number;
    this.sent.set(number, { to, at: this.clock.monotonic(), puts, gone });
    this.bus.tell?.(copiesTopic(to), headOf(node, epoch, number) + text);
  }

  private answered(text: string): void {
    const ack = readAck(text);
    const sent = ack && ack.epoch === this.self.epoch ? this.sent.get(ack.number) : undefined;
    if (!ack || !sent || sent.to !== ack.by) return;
    this.sent.delete(ack.number);
    this.lastLagMs = this.clock.monotonic() - sent.at;
  }

  /** Sends again what was lost on its way. */
  private lookAgain(): void {
    const before = this.clock.monotonic() - AGAIN_MS;
    for (const [number, { to, at, puts, gone }] of this.sent) {
      if (at > before) break; // the later ones are younger
      this.sent.delete(number);
      for (const id of puts) {
        const session = this.core?.sessions.get(id);
        if (session && this.standbys.get(id) === to) this.changedSessions.set(id, session);
      }
      for (const id of gone) this.over.set(id, to);
      this.sendSoon();
    }
    this.againTimer = this.clock.setTimeout(() => this.lookAgain(), AGAIN_MS / 4);
  }
}
