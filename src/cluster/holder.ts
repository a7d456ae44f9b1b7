import type { Bus } from "../bus/types.ts";
import type { Clock } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { TokenMap } from "../support/token-map.ts";
import type { NodeRun } from "./beat.ts";
import { acksTopic, copiesTopic, type Frame, type FrameLine, readFrame, writeAck } from "./frames.ts";

/** The bounds of all copies together, so that no node fills another's memory. */
const MAX_COPIES = 400_000;
const MAX_CHARS = 2 ** 30;

/** A session of another node, as that node last sent it. */
export interface Copy {
  readonly session: string;
  /** JSON of its `SessionState` as it came. Nobody has checked it. */
  readonly state: string;
  /** The app server rings: the state is a `SetUpState`. */
  readonly isSetUp: boolean;
  /** The session's timeline less this machine's monotonic clock, milliseconds. */
  readonly offsetMs: number;
}

/** What is here of one run of a node. */
interface Owner {
  readonly epoch: number;
  /** What an earlier run has left. It stays until it is known who takes it, though the new run tells of its own. */
  earlier: Owner | undefined;
  readonly copies: TokenMap<Copy>;
  /** Charging events that were not on the bus when they came, in the order of their frames. */
  events: HeldEvent[];
}

interface HeldEvent {
  readonly frame: number;
  readonly event: string;
}

/** Of so many runs of a node something is kept; a node is not started anew more often before that is taken. */
const MAX_RUNS = 4;

/** What a dead node has left here. */
export interface Legacy {
  readonly copies: readonly Copy[];
  /** JSON of charging events as it came. Nobody has checked it. */
  readonly events: readonly string[];
}

const NOTHING: Legacy = { copies: [], events: [] };

/** The copies that this node keeps for others. It answers each frame that it has taken. */
export class Holder {
  private readonly node: string;
  private readonly bus: Pick<Bus, "tell" | "hear">;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly peerLog: PeerLog;
  /** False: what comes now is neither kept nor answered for. */
  private readonly takes: () => boolean;
  /** Takes a session that its node gives away. False: it cannot go on here. */
  private readonly given: (copy: Copy, from: NodeRun, flow: string) => boolean;
  private readonly owners = new Map<string, Owner>();
  private count = 0;
  private chars = 0;
  private deafen: (() => void) | undefined;

  constructor(options: {
    readonly node: string;
    readonly bus: Pick<Bus, "tell" | "hear">;
    readonly clock: Pick<Clock, "monotonic">;
    readonly peerLog: PeerLog;
    readonly takes?: () => boolean;
    readonly given?: (copy: Copy, from: NodeRun, flow: string) => boolean;
  }) {
    const { node, bus, clock, peerLog, takes = () => true, given = () => false } = options;
    this.given = given;
    this.takes = takes;
    this.node = node;
    this.bus = bus;
    this.clock = clock;
    this.peerLog = peerLog;
  }

  start(): void {
    this.deafen = this.bus.hear?.(copiesTopic(this.node), (text) => this.heard(text));
  }

  stop(): void {
    this.deafen?.();
    this.deafen = undefined;
  }

  /** How many sessions of others are here. */
  get size(): number {
    return this.count;
  }

  /** Returns what is here of a node's run, and forgets all that is here of the node. */
  take({ node, epoch }: NodeRun): Legacy {
    const latest = this.owners.get(node);
    let later: Owner | undefined;
    let owner = latest;
    for (; owner && owner.epoch > epoch; owner = owner.earlier) later = owner;
    if (!owner) return NOTHING;
    const isMeant = owner.epoch === epoch;
    // Of runs before that, the events; their sessions may have ended since.
    const copies = isMeant ? owner.copies.values() : [];
    const events = runsOf(owner).flatMap((run) => run.events.map(({ event }) => event));
    for (const run of runsOf(owner)) this.empty(run);
    if (later) later.earlier = undefined;
    else this.owners.delete(node);
    return isMeant ? { copies, events } : NOTHING;
  }

  /** The earliest run of the node of which something is here. */
  runOf(node: string): NodeRun | undefined {
    const [earliest] = runsOf(this.owners.get(node));
    return earliest && { node, epoch: earliest.epoch };
  }

  has(run: NodeRun): boolean {
    return this.ownerIn(run) !== undefined;
  }

  /** Of which nodes something is here. */
  nodes(): string[] {
    return [...this.owners.keys()];
  }

  /** The sessions of that run of which copies are here. */
  sessionsOf(run: NodeRun): string[] {
    return this.ownerIn(run)?.copies.allKeys() ?? [];
  }

  /** Forgets a node's copies: the node has no sessions left, or will send them again. */
  forget(node: string): void {
    for (const run of runsOf(this.owners.get(node))) this.empty(run);
    this.owners.delete(node);
  }

  private ownerIn({ node, epoch }: NodeRun): Owner | undefined {
    return runsOf(this.owners.get(node)).find((run) => run.epoch === epoch);
  }

  private empty(owner: Owner): void {
    for (const { session } of owner.copies.values()) this.remove(owner, session);
    for (const { event } of owner.events) this.chars -= event.length;
    owner.events = [];
  }

  private heard(text: string): void {
    if (!this.takes()) return;
    const read = readFrame(text);
    if (!read.ok) {
      this.peerLog.warn("cluster: copies of sessions that cannot be read", "", { why: read.error });
      return;
    }
    const frame = read.value;
    const owner = this.ownerOf(frame);
    if (!owner) return; // of an earlier run: nobody waits for the answer
    const now = this.clock.monotonic();
    if (frame.done > 0) this.done(owner, frame.done);
    for (const line of frame.lines) {
      if (line.kind === "gone") this.remove(owner, line.session);
      else if (line.kind === "yours") {
        const copy = owner.copies.get(line.session);
        this.remove(owner, line.session);
        if (!copy || copy.isSetUp || !this.given(copy, frame, line.flow)) return; // not answered: it goes on there
      } else if (!this.keep(owner, frame.number, line, now)) {
        this.peerLog.error("cluster: no room for copies of other nodes' sessions", "", { copies: this.count });
        return; // not answered: the owner sends it again, or finds another
      }
    }
    this.bus.tell?.(acksTopic(frame.node), writeAck({ by: this.node, epoch: frame.epoch, number: frame.number }));
  }

  private ownerOf({ node, epoch }: Frame): Owner | undefined {
    const known = this.owners.get(node);
    if (known && known.epoch >= epoch) return known.epoch === epoch ? known : undefined;
    const owner: Owner = { epoch, earlier: known, copies: new TokenMap(), events: [] };
    this.owners.set(node, owner);
    const runs = runsOf(owner);
    for (const run of runs.splice(0, runs.length - MAX_RUNS)) {
      this.empty(run);
      runs[0]!.earlier = undefined;
    }
    return owner;
  }

  private keep(
    owner: Owner,
    frame: number,
    line: Exclude<FrameLine, { kind: "gone" | "yours" }>,
    now: number,
  ): boolean {
    const size = line.kind === "event" ? line.event.length : line.state.length;
    if (line.kind !== "event") this.remove(owner, line.session);
    if (this.count >= MAX_COPIES || this.chars + size > MAX_CHARS) return false;
    this.chars += size;
    if (line.kind === "event") owner.events.push({ frame, event: line.event });
    else {
      const { session, state } = line;
      const offsetMs = line.kind === "put" ? line.now - now : 0;
      owner.copies.set(session, { session, state, isSetUp: line.kind === "set-up", offsetMs });
      this.count++;
    }
    return true;
  }

  /** The events of frames up to this one are on the bus. */
  private done(owner: Owner, frame: number): void {
    const { events } = owner;
    let many = 0;
    while (many < events.length && events[many]!.frame <= frame) this.chars -= events[many++]!.event.length;
    if (many > 0) owner.events = events.slice(many);
  }

  private remove(owner: Owner, session: string): void {
    const before = owner.copies.get(session);
    if (!before) return;
    owner.copies.delete(session);
    this.count--;
    this.chars -= before.state.length;
  }
}

/** The earliest first. */
function runsOf(latest: Owner | undefined): Owner[] {
  const runs: Owner[] = [];
  for (let owner = latest; owner; owner = owner.earlier) runs.unshift(owner);
  return runs;
}
