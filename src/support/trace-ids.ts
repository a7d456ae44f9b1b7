import { createHash } from "node:crypto";

/*
 * Ids of traces and spans (W3C Trace Context §3.2.2). They are made of what a call is called anyway, so that every
 * part, and every node, names the same trace without being told.
 */

const octets = (what: string, name: string): Buffer =>
  createHash("sha256").update(`tollgate ${what}\n${name}`).digest();

/** Of a call: its correlation id; of a request that came to none: the record's id. 32 hexadecimal digits. */
export const traceIdOf = (call: string): string => octets("trace", call).toString("hex", 0, 16);

/** 16 hexadecimal digits. */
export const spanIdOf = (what: "request" | "asked" | "session", name: string): string =>
  octets(what, name).toString("hex", 0, 8);

/** Whether a trace is among the share that is kept, from 0 to 1: the same answer for the same trace everywhere. */
export const isSampled = (traceId: string, share: number): boolean =>
  Number.parseInt(traceId.slice(16, 29), 16) < share * 2 ** 52;

/** The header field that tells others of a span. */
export function traceparent(call: string, spanId: string, share: number): string {
  const traceId = traceIdOf(call);
  return `00-${traceId}-${spanId}-${isSampled(traceId, share) ? "01" : "00"}`;
}
