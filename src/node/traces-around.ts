import type { TracedCall } from "../trace/export.ts";
import { hepSender } from "../trace/hep-sender.ts";
import type { TraceOptions, Traces, TraceView } from "../trace/traces.ts";
import type { Everywhere, Missing } from "./everywhere.ts";
import { ANSWER_BYTES } from "./looks.ts";
import { heardCall, type ToldCall, toldCall } from "./traced-items.ts";

/*
 * Traces of all nodes of a cluster (P5): a trace records at each of them, so that a call is in it wherever it is. What
 * each has recorded stays there until somebody asks for it.
 */

/** A trace that is asked for. `hep`: where each message is sent as it comes, `host:port` of a Homer. */
export interface WantedTrace extends Pick<TraceOptions, "name" | "filter" | "most"> {
  readonly hep?: string | undefined;
}

/** In one answer of a node. */
interface TracedPage {
  readonly there: boolean;
  readonly calls: readonly ToldCall[];
  readonly more: boolean;
}

/** Answers of one node, where what it has recorded takes more than one: 16 MB, masked and as JSON. */
const MOST_PAGES = 200;

/** What this node records. */
export class TracesHere {
  private readonly traces: Traces;
  private readonly now: () => number;

  /** `now`: milliseconds since 1970. */
  constructor(traces: Traces, now: () => number) {
    this.traces = traces;
    this.now = now;
  }

  /** Returns why it cannot begin; undefined: it has. */
  start({ name, filter, most, hep }: WantedTrace): string | undefined {
    const sender = hep === undefined ? undefined : hepSender(hep);
    if (hep !== undefined && !sender) return "expected a host and port such as 10.0.0.9:9060";
    const why = this.traces.start({ name, filter, most, send: sender?.send, ended: sender?.close }, this.now());
    if (why !== undefined) sender?.close();
    return why;
  }

  stop(name: string, drop: boolean): boolean {
    return this.traces.stop(name, drop);
  }

  list(): TraceView[] {
    return this.traces.list();
  }

  calls(name: string): TracedCall[] | undefined {
    return this.traces.calls(name);
  }

  /** What goes into one answer, from the item of that number on: items are counted over all calls, in their order. */
  page(name: string, after: number): TracedPage {
    const calls = this.traces.calls(name);
    if (!calls) return { there: false, calls: [], more: false };
    const told: ToldCall[] = [];
    let left = after;
    let bytes = 0;
    for (const { id, items } of calls) {
      if (left >= items.length) {
        left -= items.length;
        continue;
      }
      const fitting: ToldCall["items"] = [];
      told.push({ id, items: fitting });
      for (const item of toldCall({ id, items: items.slice(left) }).items) {
        bytes += Buffer.byteLength(JSON.stringify(item)) + 1;
        if (bytes > ANSWER_BYTES) return { there: true, calls: told, more: true };
        fitting.push(item);
      }
      left = 0;
    }
    return { there: true, calls: told, more: false };
  }
}

/** The same, of all nodes. Nothing here rejects for another node. */
export class TracesAround {
  private readonly here: TracesHere;
  private readonly everywhere: Pick<Everywhere, "ask" | "eachOther">;

  constructor(here: TracesHere, everywhere: Pick<Everywhere, "ask" | "eachOther">) {
    this.here = here;
    this.everywhere = everywhere;
  }

  /** `why`: it cannot begin, at this node; other nodes that cannot are among the missing ones. */
  async start(trace: WantedTrace): Promise<{ readonly why: string | undefined } & Missing> {
    const why = this.here.start(trace);
    if (why !== undefined) return { why, missing: [] };
    const { name, filter, most, hep } = trace;
    const look = { kind: "start-trace" as const, name, filter, most, ...(hep !== undefined && { hep }) };
    const missing = await this.everywhere.eachOther(
      async (node) => (await this.everywhere.ask(node, look))?.why === null,
    );
    return { why: undefined, missing };
  }

  /** `was`: there was one of that name. `drop`: it is forgotten. */
  async stop(name: string, drop: boolean): Promise<{ readonly was: boolean } & Missing> {
    let was = this.here.stop(name, drop);
    const missing = await this.everywhere.eachOther(async (node) => {
      const said = await this.everywhere.ask(node, { kind: "stop-trace", name, drop });
      was ||= said?.was === true;
      return said !== undefined;
    });
    return { was, missing };
  }

  /** What all nodes have recorded under a name is one trace. */
  async list(): Promise<{ readonly traces: TraceView[] } & Missing> {
    const all = new Map<string, TraceView>(this.here.list().map((view) => [view.name, view]));
    const missing = await this.everywhere.eachOther(async (node) => {
      const said = await this.everywhere.ask(node, { kind: "traces" });
      for (const view of said?.traces ?? []) {
        const before = all.get(view.name);
        all.set(view.name, before ? together(before, view) : view);
      }
      return said !== undefined;
    });
    return { traces: [...all.values()], missing };
  }

  /** Undefined: no node that answers has such a trace. */
  async calls(name: string): Promise<{ readonly calls: TracedCall[] | undefined } & Missing> {
    let calls = this.here.calls(name);
    const missing = await this.everywhere.eachOther(async (node) => {
      for (let after = 0, pages = 0; pages < MOST_PAGES; pages++) {
        const page = await this.everywhere.ask(node, { kind: "traced", name, after });
        if (!page) return false;
        if (page.there) calls = joined(calls ?? [], page.calls.map(heardCall));
        const items = page.calls.reduce((sum, call) => sum + call.items.length, 0);
        if (!page.more) return true;
        if (items === 0) return false;
        after += items;
      }
      return false;
    });
    return { calls: calls && inOrder(calls), missing };
  }
}

const together = (a: TraceView, b: TraceView): TraceView => ({
  ...{ name: a.name, filter: a.filter, since: Math.min(a.since, b.since), calls: a.calls + b.calls },
  ...{ messages: a.messages + b.messages, bytes: a.bytes + b.bytes },
  ...{ running: a.running || b.running, full: a.full || b.full },
});

/** A call that went from node to node, or came in several answers, is one. */
function joined(calls: readonly TracedCall[], more: readonly TracedCall[]): TracedCall[] {
  const all = new Map(calls.map((call) => [call.id, call]));
  for (const { id, items } of more) all.set(id, { id, items: [...(all.get(id)?.items ?? []), ...items] });
  return [...all.values()];
}

/** By the wall clocks of the nodes. */
const inOrder = (calls: readonly TracedCall[]): TracedCall[] =>
  calls.map(({ id, items }) => ({ id, items: items.toSorted((a, b) => a.at - b.at) }));
