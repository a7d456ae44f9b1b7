import { parseMessage } from "../sip/parse.ts";
import { shown } from "../support/peer-log.ts";
import { maskedHead } from "./mask.ts";
import type { Seen, SeenMessage } from "./seen.ts";

const MAX_LABEL = 120;

/** What a message is in a few words: `INVITE sip:wine@portal.example (SDP)`, `200 OK (INVITE, SDP)`. Masked. */
export function labelOf({ bytes }: SeenMessage): string {
  const parsed = parseMessage(bytes, "datagram");
  if (!parsed.ok) return shown(bytes.toString("latin1", 0, MAX_LABEL).split("\r\n", 1)[0]!, MAX_LABEL);
  const message = parsed.value;
  const type = message.headers.get("content-type")?.toLowerCase() ?? "";
  const body = message.body.length === 0 ? [] : [type.startsWith("application/sdp") ? "SDP" : shown(type, 60)];
  const method = message.cseq?.method ?? "?";
  const line = message.isRequest
    ? `${message.method} ${maskedHead(message.uri)}${message.headers.has("authorization") ? " (signed)" : ""}`
    : `${message.status} ${message.reason}`;
  const more = message.isRequest ? body : method === "INVITE" ? body : [method, ...body];
  return shown(more.length === 0 ? line : `${line} (${more.join(", ")})`, MAX_LABEL);
}

/** Who speaks to whom. */
export const arrowOf = ({ direction, leg }: SeenMessage): string =>
  direction === "in" ? `${leg} -> relay` : `relay -> ${leg}`;

/** One thing that was seen, as a line without its time. */
export function textOf(item: Seen): string {
  switch (item.kind) {
    case "message":
      return `${arrowOf(item).padEnd(20)}  ${labelOf(item)}`;
    case "state":
      if (item.event === "xstate.init") return `${`[${item.chart}]`.padEnd(20)}  begins: ${item.to}`;
      return `${`[${item.chart}]`.padEnd(20)}  ${item.event || "(always)"}: ${item.from}${item.to === item.from ? "" : ` -> ${item.to}`}`;
    case "charge":
      return `${"[charges]".padEnd(20)}  ${item.type} ${item.text}`.trimEnd();
    case "timer":
      return `${"[timer]".padEnd(20)}  ${item.name}`;
    case "end": {
      const { status, reason, endedBy, wholeMs, cost, why } = item.record;
      const said = status === undefined ? "no answer" : `${status} ${reason ?? ""}`;
      return `${"[end]".padEnd(20)}  ${said}, ended by ${endedBy ?? "?"} after ${wholeMs} ms${cost ? `, ${cost}` : ""}${why ? ` (${why})` : ""}`;
    }
  }
}
