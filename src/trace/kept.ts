import type { Kept } from "../calls/record.ts";
import type { Seen } from "./seen.ts";
import { labelOf } from "./text.ts";

/** So many arrows, and so many transitions, are kept with a record. */
const MOST = 60;

/** What is kept of a call with its record: who said what when, in a few words each, and how its charts moved. */
export function keptOf(items: readonly Seen[], beganAt: number): Kept {
  const messages: Kept["messages"][number][] = [];
  const states: Kept["states"][number][] = [];
  for (const item of items) {
    const atMs = item.at - beganAt;
    if (item.kind === "message" && messages.length < MOST) {
      const [from, to] = item.direction === "in" ? [item.leg, "relay"] : ["relay", item.leg];
      messages.push([atMs, from, to, labelOf(item)]);
    } else if (item.kind === "state" && item.from !== "" && states.length < MOST)
      states.push([atMs, item.chart, item.event, item.from, item.to]);
  }
  return { messages, states };
}
