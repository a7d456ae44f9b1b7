import type { Via } from "../sip/headers.ts";
import type { SipRequest, SipResponse } from "../sip/message.ts";
import { canonicalHost, formatHost, sameHost, withoutZone } from "../support/address.ts";
import { KINDS, type TransportName, transportOfVia } from "./kinds.ts";

/** `host:port`, an IPv6 address in brackets. */
export const hostPort = (host: string, port: number): string => `${formatHost(host)}:${port}`;

/**
 * A Via value of ours, with rport so that the answer finds its way through NATs (RFC 3581 §3). `sentBy`: a `hostPort`.
 */
export function viaFor(transport: TransportName, sentBy: string, branch: string): string {
  return `SIP/2.0/${KINDS[transport].via} ${sentBy};rport;branch=${branch}`;
}

/**
 * Writes into the topmost Via where the request really came from: `received` if its sent-by is another address, and
 * both `received` and `rport` if the client asked for `rport` (RFC 3261 §18.2.1, RFC 3581 §4). Values that the peer
 * itself wrote there are dropped, since responses are routed by them. Returns false if the Via cannot be read.
 */
export function stampVia(
  request: SipRequest,
  address: string,
  port: number,
  feedback?: { for(via: Via, address: string): string | undefined },
): boolean {
  const via = request.via;
  const { fields } = request.headers;
  const at = request.headers.indexOf("via");
  const field = fields[at];
  if (!via || !field) return false;
  const wantsPort = via.params.has("rport");
  // Written as the request comes in, since each answer has the Via of its request.
  const load = feedback?.for(via, address);
  if (!wantsPort && load === undefined && !via.params.has("received") && sameHost(via.host, address)) return true;
  const value = field.value.trimEnd();
  const end = endOfFirst(value);
  let stamped = "";
  for (let start = 0; start < end; ) {
    let next = value.indexOf(";", start + 1);
    if (next < 0 || next > end) next = end;
    if (start === 0 || !isStamp(value, start + 1, next, load !== undefined)) stamped += value.slice(start, next);
    start = next;
  }
  const received = withoutZone(address);
  stamped = `${stamped.trimEnd()};received=${received}${wantsPort ? `;rport=${port}` : ""}${load ?? ""}`;
  fields[at] = field.with(end < value.length ? stamped + value.slice(end) : stamped);
  // The parsed Via is changed too, so that it need not be read again.
  via.params.set("received", received);
  if (wantsPort) via.params.set("rport", String(port));
  return true;
}

/**
 * Where a response goes if it cannot leave by the connection of its request (RFC 3261 §18.2.2). The host has its
 * canonical form, in whichever way `received` is written (RFC 5118 §4.5).
 */
export function responseTarget(response: SipResponse): { host: string; port: number } | undefined {
  const via = response.via;
  if (!via) return undefined;
  return { host: canonicalHost(via.params.get("received") || via.host), port: portOf(via) };
}

/** The port of the sent-by, or the default port if it names none (RFC 3261 §18.2.2). */
export function portOf(via: Via): number {
  return via.port ?? KINDS[transportOfVia(via.transport) ?? "udp"].port;
}

function isStamp(value: string, start: number, end: number, withLoad: boolean): boolean {
  const equals = value.indexOf("=", start);
  const name = value
    .slice(start, equals < 0 || equals > end ? end : equals)
    .trim()
    .toLowerCase();
  return name === "received" || name === "rport" || (withLoad && (name === "oc" || name.startsWith("oc-")));
}

/** Where the first of several Via values on one line ends: at a comma that is not in quotes. */
function endOfFirst(value: string): number {
  if (!value.includes(",")) return value.length;
  let quoted = false;
  for (let i = 0; i < value.length; i++) {
    const c = value[i];
    if (c === "\\" && quoted) i++;
    else if (c === '"') quoted = !quoted;
    else if (c === "," && !quoted) return i;
  }
  return value.length;
}
