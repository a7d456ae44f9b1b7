import type { Bus } from "../bus/types.ts";

/* An operator at one node has another one drained: one message over the bus, `1 <milliseconds, or ->`. */

const ORDER = /^1 (-|\d{1,9})$/;

const topicOf = (node: string): string => `drain-${node}`;

/** Has the node drained. Throws where it is none of the others. */
export function sendDrain(
  bus: Pick<Bus, "tell">,
  to: { readonly node: string; readonly withinMs: number | undefined; readonly others: readonly string[] },
): void {
  const { node, withinMs, others } = to;
  if (!others.includes(node))
    throw new Error(`there is no other node ${node}; there are ${others.join(", ") || "none"}`);
  bus.tell?.(topicOf(node), `1 ${withinMs ?? "-"}`);
}

/** Returns what ends it. */
export function hearDrain(
  bus: Pick<Bus, "hear">,
  node: string,
  drain: (withinMs: number | undefined) => void,
): (() => void) | undefined {
  return bus.hear?.(topicOf(node), (text) => {
    const found = ORDER.exec(text);
    if (found) drain(found[1] === "-" ? undefined : Number(found[1]));
  });
}
