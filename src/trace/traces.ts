import { hepPacket, type TracedCall } from "./export.ts";
import type { CallFilter } from "./filter.ts";
import type { Seen } from "./seen.ts";
import { type Story, sizeOf } from "./story.ts";
import type { Viewer, Watching } from "./watching.ts";

/** What is recorded, and how much of it. */
export interface TraceOptions {
  readonly name: string;
  readonly filter: CallFilter;
  /** So many calls. */
  readonly most: number;
  /** Sends each message on as it comes, as HEP; undefined: to nobody. */
  readonly send?: ((packet: Buffer) => void) | undefined;
  /** Called when the trace ends. */
  readonly ended?: (() => void) | undefined;
}

/** A trace as it is listed. */
export interface TraceView {
  readonly name: string;
  readonly filter: CallFilter;
  readonly since: number;
  readonly calls: number;
  readonly messages: number;
  readonly bytes: number;
  readonly running: boolean;
  /** Nothing more is taken: there is no room. */
  readonly full: boolean;
}

export const MOST_TRACES = 16;
const TRACE_BYTES = 16 * 2 ** 20;

/** Recordings of chosen calls, in memory and bounded (P5). */
export class Traces {
  private readonly watch: (viewer: Viewer) => () => void;
  private readonly traces = new Map<string, Trace>();

  constructor(watch: Watching["watch"]) {
    this.watch = watch;
  }

  /** Returns why it cannot begin; undefined: it has. */
  start(options: TraceOptions, now: number): string | undefined {
    const before = this.traces.get(options.name);
    if (before?.running) return `a trace of the name ${options.name} runs already`;
    if (before) return `what the trace ${options.name} has recorded is kept: drop it first, or take another name`;
    if (this.traces.size >= MOST_TRACES) return `there are ${MOST_TRACES} traces: stop or drop one`;
    const trace = new Trace(options, now);
    this.traces.set(options.name, trace);
    trace.end = this.watch(trace);
    return undefined;
  }

  /** False: there is none of that name. It can still be exported. `drop`: it is forgotten. */
  stop(name: string, drop: boolean): boolean {
    const trace = this.traces.get(name);
    if (!trace) return false;
    trace.stop();
    if (drop) this.traces.delete(name);
    return true;
  }

  list(): TraceView[] {
    return Array.from(this.traces.values(), (trace) => trace.view);
  }

  calls(name: string): TracedCall[] | undefined {
    return this.traces.get(name)?.traced;
  }

  /** What was recorded of one call, whichever trace has it. `id`: of its record. */
  storyOf(id: string): Pick<Story, "record" | "items" | "leftOut"> | undefined {
    for (const trace of this.traces.values()) {
      const found = trace.storyOf(id);
      if (found) return found;
    }
    return undefined;
  }

  close(): void {
    for (const trace of this.traces.values()) trace.stop();
  }
}

class Trace implements Viewer {
  readonly filter: CallFilter;
  /** Ends the watching; undefined: it has not begun, or is over. */
  end: (() => void) | undefined;
  running = true;
  private readonly options: TraceOptions;
  private readonly since: number;
  private readonly calls = new Map<Story, Seen[]>();
  private bytes = 0;
  private messages = 0;

  constructor(options: TraceOptions, since: number) {
    this.options = options;
    this.filter = options.filter;
    this.since = since;
  }

  takesMore(): boolean {
    return this.calls.size < this.options.most && this.bytes < TRACE_BYTES;
  }

  see(story: Story, item: Seen): void {
    if (this.bytes >= TRACE_BYTES) return;
    const items = this.calls.get(story);
    if (items) items.push(item);
    else this.calls.set(story, [item]);
    this.bytes += sizeOf(item);
    if (item.kind !== "message") return;
    this.messages++;
    this.options.send?.(hepPacket(item, story.record.name));
  }

  stop(): void {
    if (!this.running) return;
    this.running = false;
    this.end?.();
    this.options.ended?.();
  }

  storyOf(id: string): Pick<Story, "record" | "items" | "leftOut"> | undefined {
    for (const [{ record }, items] of this.calls) if (record.id === id) return { record, items, leftOut: 0 };
    return undefined;
  }

  get traced(): TracedCall[] {
    return Array.from(this.calls, ([story, items]) => ({ id: story.record.name, items }));
  }

  get view(): TraceView {
    const { filter, since, calls, messages, bytes, running } = this;
    const full = calls.size >= this.options.most || bytes >= TRACE_BYTES;
    return { name: this.options.name, filter, since, calls: calls.size, messages, bytes, running, full };
  }
}
