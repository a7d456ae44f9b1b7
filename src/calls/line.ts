import type { AskedServer, CallRecord } from "./record.ts";

/** The facts of a record's line in the log: flat, so that they can be searched for. */
export function lineOf(record: CallRecord): Record<string, unknown> {
  const { id, kind, method, call, callId, user, source, uri, rule, service, asked = [], fromServer } = record;
  const sessions = record.within ? [record.within, ...asked] : asked;
  const { status, reason, why, endedBy, ringMs, answerMs, wholeMs, cost } = record;
  return {
    record: id,
    ...(call !== undefined && { call }),
    ...(kind === "change" ? { kind, method, ...(fromServer && { from: "server" }) } : { method }),
    callId,
    ...(sessions.length > 0 && {
      session: sessions.map(({ session }) => session).join(" "),
      otherCallId: sessions.flatMap((one) => one.callId ?? []).join(" "),
    }),
    ...(user !== undefined && { user }),
    ...(source !== "" && { source, uri }),
    ...(rule !== undefined && { rule }),
    ...(service !== undefined && { service }),
    ...(asked.length > 0 && { asked: asked.map(saidText).join("; ") }),
    status,
    reason,
    ...(why !== undefined && { why }),
    endedBy,
    ...(ringMs !== undefined && { ringMs }),
    ...(answerMs !== undefined && { answerMs }),
    wholeMs,
    ...(cost !== undefined && { cost }),
  };
}

/** `shop: 486 Busy Here`, `shop: it was not reached: connect ECONNREFUSED 127.0.0.1:5070`. */
export function saidText({ appServer, status, reason, why, answerMs, atMs, clockMs }: AskedServer): string {
  const after = answerMs === undefined ? "" : ` after ${answerMs - atMs} ms`;
  const ran = clockMs === undefined ? "" : `, clock ${clockMs} ms`;
  const said = status === undefined ? undefined : `${status} ${reason}${after}${ran}`;
  return `${appServer}: ${[said, why].filter((one) => one !== undefined).join(", ") || "no answer that counts"}`;
}
