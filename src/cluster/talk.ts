import type { Bus } from "../bus/types.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import { isDeeper } from "../support/json.ts";
import type { PeerLog } from "../support/peer-log.ts";
import type { NodeRun } from "./beat.ts";

/*
 * How the nodes share what holds for all of them together: nonce counts, rates, lock-outs, what users have under way.
 * Each part tells the same part of the other nodes short lines. Lines are gathered for some milliseconds, so that many
 * share a message. A line that is lost is lost: each part says for itself what makes that harmless.
 *
 *   1 <node> <epoch>
 *   [[<kind>, ...], ...]
 */

/** The other nodes, as they are seen from here. */
export interface Peers {
  /** Since when this node has heard itself without a gap; undefined: it is cut off, and cannot know of the others. */
  readonly heardSince: number | undefined;
  /** Until when no other node can call this one dead, by the monotonic clock. */
  readonly safeUntil: number;
  /** The nodes that are up, without this one. */
  runs(): readonly NodeRun[];
  runOf(node: string): NodeRun | undefined;
}

export type Field = string | number;
export type Line = readonly [kind: string, ...fields: Field[]];

/** What all nodes are told is gathered for so long. */
const GATHER_MS = 10;
/** What one node is asked or answered goes out in the next turn of the event loop. */
const AT_ONCE_MS = 0;
/** A frame that would become longer than this is sent first. */
const FRAME_CHARS = 60_000;
/** What one part says in one line at most: what a client has registered, with Path. */
const LINE_CHARS = 12_000;
const MAX_FRAME_CHARS = 200_000;
/** Lines that wait for one timer, to each node. What is told beyond that is dropped, and counted. */
const MAX_WAITING = 20_000;
/** Of many lines to one node, so many go in so long: half a million in two minutes. */
const STREAM_LINES = 500;
const STREAM_MS = 20;
const TOPIC = "shared";
const ALL = "";
const HEAD = /^1 ([0-9a-z]{6}) (\d{1,15})\n(?=\[)/;

const topicOf = (node: string): string => `${TOPIC}-${node}`;

interface Draft {
  lines: string[];
  timer: TimerHandle;
  dueAt: number;
}

export class Talk {
  readonly self: NodeRun;
  /** Since the start. */
  readonly stats = { frames: 0, lines: 0, heard: 0, dropped: 0, refused: 0 };
  private readonly bus: Pick<Bus, "tell" | "hear">;
  private readonly clock: Clock;
  private readonly peerLog: PeerLog;
  private readonly peers: Pick<Peers, "runOf">;
  private readonly handlers = new Map<string, (line: Line, from: NodeRun) => void>();
  private readonly drafts = new Map<string, Draft>();
  private readonly streams = new Set<TimerHandle>();
  private deafen: (() => void)[] = [];

  constructor(options: {
    readonly self: NodeRun;
    readonly bus: Pick<Bus, "tell" | "hear">;
    readonly clock: Clock;
    readonly peerLog: PeerLog;
    readonly peers: Pick<Peers, "runOf">;
  }) {
    const { self, bus, clock, peerLog, peers } = options;
    this.self = self;
    this.bus = bus;
    this.clock = clock;
    this.peerLog = peerLog;
    this.peers = peers;
  }

  start(): void {
    if (this.deafen.length > 0) return;
    for (const topic of [TOPIC, topicOf(this.self.node)])
      this.deafen.push(this.bus.hear?.(topic, (text) => this.heard(text)) ?? (() => {}));
  }

  stop(): void {
    for (const deafen of this.deafen) deafen();
    this.deafen = [];
    for (const { timer } of this.drafts.values()) this.clock.clearTimeout(timer);
    this.drafts.clear();
    for (const timer of this.streams) this.clock.clearTimeout(timer);
    this.streams.clear();
  }

  /** Calls `heard` with each line of that kind. Only the line's form is checked; each field may be anything. */
  on(kind: string, heard: (line: Line, from: NodeRun) => void): void {
    if (this.handlers.has(kind)) throw new Error(`two parts hear lines of the kind ${kind}`);
    this.handlers.set(kind, heard);
  }

  /** Tells all other nodes that are there, in some milliseconds or at once. */
  tell(line: Line, when: "now" | "soon" = "soon"): void {
    this.add(ALL, line, when === "now" ? AT_ONCE_MS : GATHER_MS);
  }

  /** Tells one node, at once or with what all nodes are told. Lines to one node arrive in their order. */
  tellTo(node: string, line: Line, when: "now" | "soon" = "now"): void {
    this.add(node, line, when === "now" ? AT_ONCE_MS : GATHER_MS);
  }

  /**
   * Tells one node many lines, some at a time. `lines` is asked for them as they are sent; what all nodes were to be
   * told before has then gone out, so that what the lines say does not come a second time.
   */
  stream(node: string, lines: Iterator<Line>): void {
    if (this.drafts.has(ALL)) this.send(ALL);
    for (let i = 0; i < STREAM_LINES; i++) {
      const next = lines.next();
      if (next.done) return;
      this.tellTo(node, next.value, "soon");
    }
    const timer = this.clock.setTimeout(() => {
      this.streams.delete(timer);
      this.stream(node, lines);
    }, STREAM_MS);
    this.streams.add(timer);
  }

  private add(to: string, line: Line, withinMs: number): void {
    if (this.deafen.length === 0) return;
    let draft = this.drafts.get(to);
    if (!draft) {
      draft = { lines: [], timer: undefined, dueAt: Number.POSITIVE_INFINITY };
      this.drafts.set(to, draft);
    }
    const text = JSON.stringify(line);
    if (draft.lines.length >= MAX_WAITING || text.length > LINE_CHARS) {
      this.stats.dropped++;
      this.peerLog.warn("cluster: what other nodes are to know is dropped", "", { kind: line[0], chars: text.length });
      return;
    }
    draft.lines.push(text);
    const dueAt = this.clock.monotonic() + withinMs;
    if (dueAt >= draft.dueAt) return;
    draft.dueAt = dueAt;
    this.clock.clearTimeout(draft.timer);
    draft.timer = this.clock.setTimeout(() => this.send(to), withinMs);
  }

  private send(to: string): void {
    const { lines = [], timer } = this.drafts.get(to) ?? {};
    this.clock.clearTimeout(timer);
    this.drafts.delete(to);
    for (let from = 0; from < lines.length; ) {
      let chars = 0;
      let until = from;
      while (until < lines.length && chars + lines[until]!.length <= FRAME_CHARS) chars += lines[until++]!.length + 1;
      this.post(to, lines.slice(from, until));
      from = until;
    }
  }

  private post(to: string, lines: readonly string[]): void {
    const { node, epoch } = this.self;
    const text = `1 ${node} ${epoch}\n[${lines.join(",")}]`;
    this.stats.frames++;
    this.stats.lines += lines.length;
    if (this.bus.tell?.(to === ALL ? TOPIC : topicOf(to), text) !== true) this.stats.dropped += lines.length;
  }

  private heard(text: string): void {
    const head = text.length <= MAX_FRAME_CHARS ? HEAD.exec(text) : null;
    const node = head?.[1] ?? "";
    if (node === this.self.node) return;
    const lines = head ? linesIn(text.slice(head[0].length)) : undefined;
    if (!lines) {
      this.stats.refused++;
      this.peerLog.warn("cluster: what a node tells cannot be read", node, { chars: text.length });
      return;
    }
    const run = this.peers.runOf(node);
    if (run?.epoch !== Number(head![2])) return; // of an earlier run, or of a node that is not there
    for (const line of lines) {
      this.stats.heard++;
      this.handlers.get(line[0])?.(line, run); // a node of a later version may say more
    }
  }
}

function linesIn(json: string): Line[] | undefined {
  if (isDeeper(json, 2)) return undefined;
  try {
    const lines: unknown = JSON.parse(json);
    return Array.isArray(lines) && lines.every(isLine) ? lines : undefined;
  } catch {
    return undefined;
  }
}

function isLine(line: unknown): line is Line {
  if (!Array.isArray(line) || typeof line[0] !== "string") return false;
  return line.every((field) => typeof field === "string" || (typeof field === "number" && Number.isFinite(field)));
}
