import { isFailure } from "../calls/record.ts";
import { masked } from "./mask.ts";
import type { Seen } from "./seen.ts";
import { labelOf, textOf } from "./text.ts";

/** One thing that was seen in a call, as JSON. `full`: with whole messages, in which secrets are masked. */
export function eventLine(item: Seen, about: object, full: boolean): object {
  return { kind: item.kind, at: item.at, ...about, ...factsOf(item, full), text: textOf(item) };
}

function factsOf(item: Seen, full: boolean): object {
  switch (item.kind) {
    case "message": {
      const [from, to] = item.direction === "in" ? [item.leg, "relay"] : ["relay", item.leg];
      const label = labelOf(item);
      const { direction, callId } = item;
      const whole = full ? { message: masked(item.bytes) } : {};
      return { direction, from, to, callId, label, error: /^[3-6]\d\d /.test(label), ...whole };
    }
    case "state":
      return item;
    case "charge":
      return { session: item.session, type: item.type };
    case "timer":
      return { session: item.session, name: item.name };
    case "end": {
      const { kept: _, ...record } = item.record;
      return { record: { ...record, failed: isFailure(record) } };
    }
  }
}
