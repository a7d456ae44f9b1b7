import { shown } from "../support/peer-log.ts";
import type { AskedServer, CallRecord } from "./record.ts";

/*
 * The record of a request that was under way when its node died. Another node has it as data, as it was then, and ends
 * it.
 */

/** What is told of a request under way. */
export type RunningRecord = Pick<
  CallRecord,
  "id" | "method" | "at" | "call" | "callId" | "source" | "user" | "uri" | "rule" | "service" | "ringMs"
> & { readonly asked?: readonly Pick<AskedServer, "appServer" | "session" | "callId" | "atMs">[] };

const MAX_TEXT = 500;
/** Of a record of a request that runs, what another node needs to end it; undefined: nothing is told of it. */
export function runningOf(record: CallRecord): RunningRecord | undefined {
  const { id, kind, method, at, call, callId, source, user, uri, rule, service, ringMs, asked } = record;
  const running = {
    ...{ id, method, at, callId, source, uri },
    ...(call !== undefined && { call }),
    ...(user !== undefined && { user }),
    ...(rule !== undefined && { rule }),
    ...(service !== undefined && { service }),
    ...(ringMs !== undefined && { ringMs }),
    ...(asked && {
      asked: asked.map(({ appServer, session, callId: other, atMs }) => ({
        ...{ appServer, session, atMs },
        ...(other !== undefined && { callId: other }),
      })),
    }),
  };
  return kind === "invite" ? running : undefined;
}

/**
 * The record as it is when its node is dead. `status`, `reason`: what its client hears; undefined: it cannot be told.
 * `now`: milliseconds since 1970.
 */
export function endedWithNode(running: RunningRecord, now: number, status?: number, reason?: string): CallRecord {
  const { at, ringMs, asked = [], ...texts } = running;
  const wholeMs = Math.max(0, now - at, ringMs ?? 0);
  const clean = Object.fromEntries(Object.entries(texts).map(([name, value]) => [name, shown(value, MAX_TEXT)]));
  const { id = "", callId = "", source = "", uri = "", ...rest } = clean;
  return {
    ...rest,
    ...{ id, callId, source, uri, at, wholeMs },
    kind: "invite",
    method: "INVITE",
    ...(ringMs !== undefined && { ringMs }),
    ...(asked.length > 0 && {
      asked: asked.map(({ appServer, session, callId: other, atMs }) => ({
        appServer: shown(appServer, MAX_TEXT),
        session: shown(session, MAX_TEXT),
        atMs,
        ...(other !== undefined && { callId: shown(other, MAX_TEXT) }),
        why: "the node that asked it died",
      })),
    }),
    ...(status !== undefined && { status, answerMs: wholeMs, ...(reason !== undefined && { reason }) }),
    why: "its node died while it was set up",
    endedBy: "relay",
  };
}
