import type { Bus } from "../bus/types.ts";
import type { Clock } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { TokenMap } from "../support/token-map.ts";
import { acksTopic, copiesTopic, type Frame, readFrame, writeAck } from "./frames.ts";

/** The bounds of all copies together, so that no node fills another's memory. */
const MAX_COPIES = 400_000;
const MAX_CHARS = 2 ** 30;

/** A session of another node, as that node last sent it. */
export interface Copy {
  readonly session: string;
  /** JSON of its `SessionState` as it came. Nobody has checked it. */
  readonly state: string;
  /** The session's timeline less this machine's monotonic clock, milliseconds. */
  readonly offsetMs: number;
}

interface Owner {
  readonly epoch: number;
  readonly copies: TokenMap<Copy>;
}

/** The copies that this node keeps for others. It answers each frame that it has taken. */
export class Holder {
  private readonly node: string;
  private readonly bus: Pick<Bus, "tell" | "hear">;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly peerLog: PeerLog;
  private readonly owners = new Map<string, Owner>();
  private count = 0;
  private chars = 0;
  private deafen: (() => void) | undefined;

  constructor(options: {
    readonly node: string;
    readonly bus: Pick<Bus, "tell" | "hear">;
    readonly clock: Pick<Clock, "monotonic">;
    readonly peerLog: PeerLog;
  }) {
    const { node, bus, clock, peerLog } = options;
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

  /** Returns the copies of a node's sessions in that epoch, and forgets all that are here of this node. */
  take(node: string, epoch: number): Copy[] {
    const owner = this.owners.get(node);
    if (!owner || owner.epoch > epoch) return [];
    const copies = owner.epoch === epoch ? owner.copies.values() : [];
    this.forget(node);
    return copies;
  }

  /** Forgets a node's copies: the node has no sessions left, or will send them again. */
  forget(node: string): void {
    const owner = this.owners.get(node);
    if (!owner) return;
    for (const { session } of owner.copies.values()) this.remove(owner, session);
    this.owners.delete(node);
  }

  private heard(text: string): void {
    const read = readFrame(text);
    if (!read.ok) {
      this.peerLog.warn("cluster: copies of sessions that cannot be read", "", { why: read.error });
      return;
    }
    const frame = read.value;
    const owner = this.ownerOf(frame);
    if (!owner) return; // of an earlier run: nobody waits for the answer
    const now = this.clock.monotonic();
    for (const line of frame.lines) {
      this.remove(owner, line.session);
      if (line.state === undefined) continue;
      if (this.count >= MAX_COPIES || this.chars + line.state.length > MAX_CHARS) {
        this.peerLog.error("cluster: no room for copies of other nodes' sessions", "", { copies: this.count });
        return; // not answered: the owner sends it again, or finds another
      }
      const { session, state } = line;
      owner.copies.set(session, { session, state, offsetMs: line.now - now });
      this.count++;
      this.chars += state.length;
    }
    this.bus.tell?.(acksTopic(frame.node), writeAck({ by: this.node, epoch: frame.epoch, number: frame.number }));
  }

  private ownerOf({ node, epoch }: Frame): Owner | undefined {
    const known = this.owners.get(node);
    if (known && known.epoch >= epoch) return known.epoch === epoch ? known : undefined;
    this.forget(node);
    const owner: Owner = { epoch, copies: new TokenMap() };
    this.owners.set(node, owner);
    return owner;
  }

  private remove(owner: Owner, session: string): void {
    const before = owner.copies.get(session);
    if (!before) return;
    owner.copies.delete(session);
    this.count--;
    this.chars -= before.state.length;
  }
}
