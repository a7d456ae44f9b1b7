import type { TracedCall } from "../trace/export.ts";
import { hepSender, homerIn, NO_HOMER } from "../trace/hep-sender.ts";
import type { TraceOptions, Traces, TraceView } from "../trace/traces.ts";
import { ANSWER_BYTES } from "./looks.ts";
import { type ToldCall, toldCall } from "./traced-items.ts";

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

/** What this node records, as it and others ask for it. */
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
    const homer = hep === undefined ? undefined : homerIn(hep);
    if (hep !== undefined && !homer) return NO_HOMER;
    const sender = homer && hepSender(homer);
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
