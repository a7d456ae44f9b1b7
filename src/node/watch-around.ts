import { z } from "zod";
import type { Bus } from "../bus/types.ts";
import { type Clock, type TimerHandle, unref } from "../support/clock.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { type EventLine, lineViewer } from "../trace/event-lines.ts";
import type { WatchQuery } from "../trace/filter.ts";
import type { Viewer } from "../trace/watching.ts";
import { seenLine } from "./looks.ts";

/*
 * Who watches calls at one node of a cluster sees those of all nodes (P5). The node tells the others what is looked
 * for, and tells it again as long as somebody looks; they tell it what happens. Nothing is told while nobody looks.
 */

const WATCH_TOPIC = "watch";
const seenTopic = (node: string): string => `seen-${node}`;

/** How often a node says that somebody still looks, and after how long without that the others stop telling it. */
const RENEW_MS = 5_000;
const LEASE_MS = 16_000;
/** Lines are gathered for so long. */
const GATHER_MS = 100;
/** Of these no more is told in that time: who looks hears how many lines are missing. */
const MOST_LINES = 500;
const MOST_CHARS = 400_000;
/** For how many watchers of other nodes this one works at most. */
const MOST_WATCHERS = 64;

const name = z.string().min(1).max(512);
const query = z.strictObject({
  filter: z.strictObject({ user: name.optional(), service: name.optional(), callId: name.optional() }),
  full: z.boolean(),
  call: name.optional(),
});
const wanted = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("watch"), by: name, id: name, query }),
  z.object({ kind: z.literal("end"), by: name, id: name }),
]);
const seen = z.object({
  by: name,
  id: name,
  lines: z.array(seenLine).max(MOST_LINES),
  missed: z.int().min(0),
  full: z.boolean().optional(),
});

/** Who hears what happens at other nodes. */
export interface Spectator {
  /** One line of `/v1/events`, with the node where it happened. */
  line(line: { readonly kind: string; readonly node?: string }): void;
  /**
   * So many lines of that node are missing: more happened than can be told. Undefined: all of its lines, as long as it
   * does not work for further watchers.
   */
  missed(lines: number | undefined, node: string): void;
}

export class WatchAround {
  private readonly options: {
    readonly node: string;
    readonly bus: Pick<Bus, "tell" | "hear">;
    readonly clock: Pick<Clock, "setTimeout" | "clearTimeout">;
    readonly peerLog: Pick<PeerLog, "warn">;
    readonly newId: () => string;
    /** Watches what happens here. */
    readonly watch: (viewer: Viewer) => () => void;
  };
  /** Those who look here, by the id of what they look at; and which nodes have no room for them. */
  private readonly spectators = new Map<string, { readonly spectator: Spectator; readonly full: Set<string> }>();
  /** Those for whom this node watches: by node and id. */
  private readonly reports = new Map<string, Report>();
  private deafen: (() => void)[] = [];

  constructor(options: WatchAround["options"]) {
    this.options = options;
  }

  start(): void {
    const { bus, node } = this.options;
    for (const [topic, heard] of [
      [WATCH_TOPIC, (text: string) => this.asked(text)],
      [seenTopic(node), (text: string) => this.told(text)],
    ] as const) {
      const end = bus.hear?.(topic, heard);
      if (end) this.deafen.push(end);
    }
  }

  stop(): void {
    for (const end of this.deafen.splice(0)) end();
    for (const report of this.reports.values()) report.end();
    this.spectators.clear();
  }

  /** Watches at all other nodes, also those that start later. Returns how to end it. */
  watch(query: WatchQuery, spectator: Spectator): () => void {
    const { bus, node, clock, newId } = this.options;
    const id = newId();
    const tell = (about: object) => bus.tell?.(WATCH_TOPIC, JSON.stringify({ by: node, id, ...about }));
    let timer: TimerHandle;
    const renew = () => {
      tell({ kind: "watch", query });
      timer = clock.setTimeout(renew, RENEW_MS);
      unref(timer);
    };
    this.spectators.set(id, { spectator, full: new Set() });
    renew();
    return () => {
      if (!this.spectators.delete(id)) return;
      clock.clearTimeout(timer);
      tell({ kind: "end" });
    };
  }

  private asked(text: string): void {
    const { node, bus, peerLog } = this.options;
    const read = parsed(wanted, text);
    if (!read) peerLog.warn("cluster: what another node wants to watch cannot be read", "", {});
    if (!read || read.by === node) return;
    const key = `${read.by} ${read.id}`;
    const known = this.reports.get(key);
    if (read.kind === "end") known?.end();
    else if (known) known.renew();
    else if (this.reports.size >= MOST_WATCHERS) {
      peerLog.warn("cluster: as many watch at other nodes as there may be", read.by, { most: MOST_WATCHERS });
      bus.tell?.(seenTopic(read.by), JSON.stringify({ by: node, id: read.id, lines: [], missed: 0, full: true }));
    } else {
      const over = () => void this.reports.delete(key);
      this.reports.set(key, new Report({ ...this.options, to: read.by, id: read.id, query: read.query, over }));
    }
  }

  private told(text: string): void {
    const read = parsed(seen, text);
    if (!read) this.options.peerLog.warn("cluster: what another node has seen cannot be read", "", {});
    const watcher = read && this.spectators.get(read.id);
    if (!watcher) return;
    const { spectator, full } = watcher;
    for (const line of read.lines) spectator.line({ ...line, node: read.by });
    if (read.missed > 0) spectator.missed(read.missed, read.by);
    // It says so each time when it is asked again.
    if (!read.full) full.delete(read.by);
    else if (!full.has(read.by)) {
      full.add(read.by);
      spectator.missed(undefined, read.by);
    }
  }
}

/** What this node tells one watcher at another node. */
class Report {
  private readonly options: WatchAround["options"] & {
    readonly to: string;
    readonly id: string;
    readonly query: z.output<typeof query>;
    readonly over: () => void;
  };
  private readonly stop: () => void;
  private lines: string[] = [];
  private chars = 0;
  private missed = 0;
  private timer: TimerHandle;
  private lease: TimerHandle;

  constructor(options: Report["options"]) {
    this.options = options;
    this.stop = options.watch(lineViewer(options.query as WatchQuery, (line) => this.add(line)));
    this.renew();
  }

  renew(): void {
    const { clock } = this.options;
    clock.clearTimeout(this.lease);
    this.lease = clock.setTimeout(() => this.end(), LEASE_MS);
    unref(this.lease);
  }

  end(): void {
    const { clock, over } = this.options;
    this.stop();
    clock.clearTimeout(this.lease);
    clock.clearTimeout(this.timer);
    over();
  }

  private add(seen: EventLine): void {
    const line = JSON.stringify(seen);
    if (this.lines.length >= MOST_LINES || this.chars + line.length > MOST_CHARS) this.missed++;
    else {
      this.lines.push(line);
      this.chars += line.length;
    }
    this.timer ??= this.options.clock.setTimeout(() => this.tell(), GATHER_MS);
  }

  private tell(): void {
    const { bus, node, to, id } = this.options;
    const about = JSON.stringify({ by: node, id, missed: this.missed });
    const told = bus.tell?.(seenTopic(to), `${about.slice(0, -1)},"lines":[${this.lines.join(",")}]}`);
    this.missed = told ? 0 : this.missed + this.lines.length; // this node has no NATS: it says later how many are lost
    this.lines = [];
    this.chars = 0;
    this.timer = undefined;
  }
}

function parsed<T>(schema: z.ZodType<T>, text: string): T | undefined {
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
