import { isIP } from "node:net";
import type { AskedServer, CallRecord } from "../calls/record.ts";
import { spanIdOf, traceIdOf } from "../support/trace-ids.ts";

/*
 * Spans of a request, made of its record when it has ended. Attributes are named after OpenTelemetry's semantic
 * conventions where there are any (network.*, user.id, error.type); there are none for SIP.
 */

type Value = string | number;

/** An attribute as OTLP has it in JSON (opentelemetry-proto, common.proto; 64 bit numbers are text). */
export interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue: string } | { readonly intValue: string };
}

/** A span as OTLP has it in JSON (trace.proto); ids are hexadecimal there. */
export interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  readonly status?: { readonly code: number; readonly message?: string };
}

const INTERNAL = 1;
const SERVER = 2;
const CLIENT = 3;
const ERROR = 2;

/** The trace that a request belongs to: all requests of one call are in one. */
export const traceOf = ({ call, id }: CallRecord): string => traceIdOf(call ?? id);

/** The span of a request, with one for each app server that was asked, and one for each session that came of it. */
export function spansOf(record: CallRecord): Span[] {
  const { id, call, kind, method, service, asked = [], resumed, at, answerMs, wholeMs } = record;
  const traceId = traceOf(record);
  // The request that began the call is what the others are under.
  const first = spanIdOf("request", call ?? id);
  const isFirst = kind === "invite" || call === undefined;
  const own = isFirst ? first : spanIdOf("request", `${call} ${id}`);
  const under = (spanId: string, name: string, of: number) => ({ traceId, spanId, parentSpanId: own, name, kind: of });
  const named = (what: string) => (service === undefined ? what : `${what} ${service}`);
  const spans: Span[] = [];
  // The beginning of a session that another process had is in that one's span.
  if (!resumed)
    spans.push({
      traceId,
      spanId: own,
      ...(!isFirst && { parentSpanId: first }),
      name: named(method),
      kind: SERVER,
      ...times(at, at + (answerMs ?? wholeMs)),
      attributes: attributes({ ...ofRequest(record), ...ofAnswer(record) }),
      ...(isError(record) && { status: statusOf(record) }),
    });
  for (const one of asked) {
    const { session, clockMs, status, why } = one;
    const answered = one.answerMs ?? answerMs ?? wholeMs;
    if (!resumed && (one.callId !== undefined || status !== undefined || why !== undefined))
      spans.push({
        ...under(spanIdOf("asked", session), named(method), CLIENT),
        ...times(at + one.atMs, at + Math.max(one.atMs, answered)),
        attributes: attributes({ ...ofSession(one), ...ofAnswer(one) }),
        // Whoever asks sees an error in every refusal.
        ...((status === undefined || status >= 300) && { status: statusOf(one) }),
      });
    if (clockMs !== undefined)
      spans.push({
        ...under(spanIdOf("session", session), named("session"), INTERNAL),
        // From its answer on: when exactly the clock began is not in the record.
        ...times(at + answered, at + answered + clockMs),
        attributes: attributes({
          ...ofSession(one),
          "tollgate.ended_by": one.endedBy,
          "tollgate.clock_ms": clockMs,
          "tollgate.cost": one.cost,
        }),
      });
  }
  return spans;
}

type Facts = Readonly<Record<string, Value | undefined>>;

function ofRequest(record: CallRecord): Facts {
  const { id, call, method, callId, user, uri, rule, service, fromServer, ringMs, within } = record;
  const [, transport, host, port] = /^([^/]*)\/\[?(.*?)\]?:(\d+)$/.exec(record.source) ?? [];
  return {
    "network.protocol.name": "sip",
    "network.transport": transport === undefined ? undefined : transport === "udp" ? "udp" : "tcp",
    "network.type": host === undefined ? undefined : isIP(host) === 6 ? "ipv6" : "ipv4",
    "network.peer.address": host,
    "network.peer.port": port === undefined ? undefined : Number(port),
    "user.id": user,
    "sip.request.method": method,
    "sip.request.uri": uri === "" ? undefined : uri,
    "sip.call_id": callId,
    "tollgate.record": id,
    "tollgate.call": call,
    "tollgate.service": service,
    "tollgate.rule": rule,
    "tollgate.from": fromServer ? "server" : "client",
    "tollgate.session": within?.session,
    "tollgate.ring_ms": ringMs,
    "tollgate.ended_by": record.endedBy,
    "tollgate.cost": record.cost,
  };
}

const ofSession = ({ appServer, session, callId }: AskedServer): Facts => ({
  "tollgate.app_server": appServer,
  "tollgate.session": session,
  "sip.call_id": callId,
});

interface Answer {
  readonly status?: number;
  readonly reason?: string;
  readonly why?: string;
}

const ofAnswer = ({ status, reason, why }: Answer): Facts => ({
  "sip.response.status_code": status,
  "sip.response.reason": reason,
  "tollgate.why": why,
  "error.type": status !== undefined && status >= 400 ? String(status) : undefined,
});

/** For whoever answers, only its own faults are errors, as the conventions for HTTP have it. */
const isError = ({ status }: CallRecord): boolean => status !== undefined && status >= 500 && status < 600;

function statusOf({ status, reason, why }: Answer): NonNullable<Span["status"]> {
  const message = why ?? (status === undefined ? "no answer" : `${status} ${reason ?? ""}`.trim());
  return { code: ERROR, message };
}

const times = (from: number, to: number): Pick<Span, "startTimeUnixNano" | "endTimeUnixNano"> => ({
  startTimeUnixNano: nanos(from),
  endTimeUnixNano: nanos(Math.max(from, to)),
});

/** More than a number can be exact about. */
const nanos = (ms: number): string => `${Math.trunc(ms)}000000`;

export function attributes(facts: Facts): Attribute[] {
  return Object.entries(facts).flatMap(([key, value]): Attribute[] => {
    if (value === undefined) return [];
    return [{ key, value: typeof value === "number" ? { intValue: String(value) } : { stringValue: value } }];
  });
}
