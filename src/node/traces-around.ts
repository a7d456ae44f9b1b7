import type { TracedCall } from "../trace/export.ts";
import type { TraceView } from "../trace/traces.ts";
import type { Everywhere, Missing } from "./everywhere.ts";
import { heardCall } from "./traced-items.ts";
import type { TracesHere, WantedTrace } from "./traces-here.ts";

/*
 * Traces of all nodes of a cluster (P5): a trace records at each of them, so that a call is in it wherever it is. What
 * each has recorded stays there until somebody asks for it.
 */

/** Answers of one node, where what it has recorded takes more than one: 16 MB, masked and as JSON. */
const MOST_PAGES = 200;

/** What all nodes record. Nothing here rejects for another node. */
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
