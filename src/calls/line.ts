import type { AskedServer, CallRecord } from "./record.ts";

/** The facts of a record's line in the log: flat, so that they can be searched for. What is undefined is left out. */
export function lineOf(record: CallRecord): Record<string, unknown> {
  const { kind, source, asked = NONE, within } = record;
  const isChange = kind === "change";
  const hasSource = source !== "";
  const sessions = within ? [within, ...asked] : asked;
  const one = sessions.length === 1 ? sessions[0] : undefined;
  return {
    record: record.id,
    call: record.call,
    kind: isChange ? kind : undefined,
    method: record.method,
    from: isChange && record.fromServer ? "server" : undefined,
    callId: record.callId,
    session: one ? one.session : sessions.length === 0 ? undefined : sessions.map(({ session }) => session).join(" "),
    otherCallId: one
      ? (one.callId ?? "")
      : sessions.length === 0
        ? undefined
        : sessions.flatMap(({ callId }) => callId ?? []).join(" "),
    user: record.user,
    source: hasSource ? source : undefined,
    uri: hasSource ? record.uri : undefined,
    rule: record.rule,
    service: record.service,
    asked: asked.length === 0 ? undefined : asked.map(saidText).join("; "),
    status: record.status,
    reason: record.reason,
    why: record.why,
    endedBy: record.endedBy,
    ringMs: record.ringMs,
    answerMs: record.answerMs,
    wholeMs: record.wholeMs,
    cost: record.cost,
  };
}

const NONE: readonly AskedServer[] = [];

/** `shop: 486 Busy Here`, `shop: it was not reached: connect ECONNREFUSED 127.0.0.1:5070`. */
export function saidText({ appServer, status, reason, why, answerMs, atMs, clockMs }: AskedServer): string {
  const after = answerMs === undefined ? "" : ` after ${answerMs - atMs} ms`;
  const ran = clockMs === undefined ? "" : `, clock ${clockMs} ms`;
  const said = status === undefined ? undefined : `${status} ${reason}${after}${ran}`;
  if (said !== undefined && why !== undefined) return `${appServer}: ${said}, ${why}`;
  return `${appServer}: ${said || why || "no answer that counts"}`;
}
