import { isFailure } from "../calls/record.ts";
import type { WatchQuery } from "./filter.ts";
import { masked } from "./mask.ts";
import type { Seen } from "./seen.ts";
import { labelOf, textOf } from "./text.ts";
import type { Viewer } from "./watching.ts";

/** One line of `/v1/events`. */
export interface EventLine {
  readonly kind: string;
  readonly at: number;
  readonly text: string;
}

/** One thing that was seen in a call, as JSON. `full`: with whole messages, in which secrets are masked. */
export function eventLine(item: Seen, about: object, full: boolean): EventLine {
  return { kind: item.kind, at: item.at, ...about, ...factsOf(item, full), text: textOf(item) };
}

/** Takes what is asked for, as lines. */
export function lineViewer({ filter, call: only, full }: WatchQuery, take: (line: EventLine) => void): Viewer {
  return {
    filter,
    see({ record }, item) {
      if (only !== undefined && record.name !== only) return;
      const { user, service, call, ofCallId } = record;
      take(eventLine(item, { call: record.name, ...(call && { callId: ofCallId }), user, service }, full));
    },
    seeStranger: (item) => take(eventLine(item, { callId: item.callId }, full)),
  };
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
