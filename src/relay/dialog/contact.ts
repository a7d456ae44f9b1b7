import { parseNameAddr, parseOneNameAddr, splitList } from "../../sip/headers.ts";
import type { Headers, SipRequest } from "../../sip/message.ts";
import { type SipUri, sipUriOf } from "../../sip/uri.ts";
import { sameHost } from "../../support/address.ts";
import { isInside } from "../../transport/inside.ts";
import { KINDS, OPEN_TRANSPORTS } from "../../transport/kinds.ts";
import { whyUnreachable } from "../../transport/resolve.ts";
import { type Destination, type Flow, TRANSPORTS } from "../../transport/types.ts";

/*
 * Contact: the URI by which a peer is reached within a dialog (RFC 3261 §8.1.1.8, §12). If the peer cannot be reached,
 * the relay cannot end the dialog.
 */

/**
 * Requests whose Contact is the peer's target from then on (RFC 3261 §12.2; RFC 3311 §5.1; RFC 4488 §3 for REFER; RFC
 * 6665 §3.1, §3.2). The first three open dialogs, too.
 */
const TARGET_REFRESH: ReadonlySet<string> = new Set(["INVITE", "SUBSCRIBE", "REFER", "UPDATE", "NOTIFY"]);

export const refreshesTarget = (method: string): boolean => TARGET_REFRESH.has(method);

/**
 * Why a request that opens a dialog, or refreshes its target, has no Contact that can be used; undefined: it has one.
 * In an existing dialog none is needed (RFC 3261 §12.2.2: "if present"). `routed`: the way leads over proxies, which
 * may reach what the relay cannot.
 */
export function contactProblem(request: SipRequest, flow: Flow, opens: boolean, routed: boolean): string | undefined {
  const { headers } = request;
  const text = headers.get("contact");
  if (text === undefined) return opens ? "Missing Contact" : undefined;
  if (headers.count("contact") > 1) return "More Than One Contact";
  // RFC 3261 §8.1.1.8: exactly one SIP or SIPS URI. `*` is for REGISTER (§10.2.2).
  const address = text.includes(",") ? readOne(text) : request.contact;
  const uri = address && targetIn(address.uri);
  if (!uri) return "Contact Is Not One SIP URI";
  if (uri.scheme === "sips" && !flow.secure && !routed) return "A sips Contact Needs TLS"; // RFC 3261 §26.2.2
  if (routed) return opens && !flow.reliable ? routeProblem(headers) : undefined;
  if (isKnown(wayBack(request, flow, false))) return undefined;
  return whyUnreachable(uri, transportsFor(flow)) && "Contact Cannot Be Reached";
}

/** Only a peer within this process may be reached there. */
const transportsFor = ({ transport }: Flow) => (KINDS[transport].inside ? TRANSPORTS : OPEN_TRANSPORTS);

/**
 * Why the first proxy of the future route set cannot be reached; undefined: it can. Only asked where the request came
 * over UDP, since a connection leads back by itself.
 */
function routeProblem(headers: Headers): string | undefined {
  const first = splitList(headers.get("record-route") ?? "")[0];
  const address = first === undefined ? undefined : parseNameAddr(first);
  const uri = address?.ok ? sipUriOf(address.value.uri) : undefined;
  return uri && whyUnreachable(uri, OPEN_TRANSPORTS) === undefined ? undefined : "Record-Route Cannot Be Reached";
}

/**
 * Whether a Contact can be a dialog's target. `found`: there is another way to the peer, so the Contact need not be
 * reachable. `before`: the target so far.
 */
export function isTarget(written: string, found: boolean, before: string): boolean {
  const uri = targetIn(written);
  if (uri === undefined) return false;
  if (found || whyUnreachable(uri, OPEN_TRANSPORTS) === undefined) return true;
  // Only a peer within this process may name itself.
  return isInside(sipUriOf(before)?.host ?? "") && whyUnreachable(uri, TRANSPORTS) === undefined;
}

/**
 * RFC 3261 §19.1.1, table 1: a Contact in a dialog has no header fields in its URI, because it becomes a Request-URI.
 */
function targetIn(written: string): SipUri | undefined {
  const uri = sipUriOf(written);
  return uri?.headers === undefined ? uri : undefined;
}

function readOne(text: string) {
  const address = parseOneNameAddr(text);
  return address.ok ? address.value : undefined;
}

/**
 * How a peer is reached: by the connection on which it came (`flow`), or at the address from which it came (`behind`).
 * Where both are undefined, at its Contact.
 */
export interface WayBack {
  readonly flow: Flow | undefined;
  readonly behind: Destination | undefined;
  readonly cameBy: Flow;
}

/** The way back to the sender of a request. `routed`: a route set leads there. */
export function wayBack({ headers, via, contact }: SipRequest, flow: Flow, routed: boolean): WayBack {
  if (routed || headers.count("via") > 1) return { flow: undefined, behind: undefined, cameBy: flow };
  if (flow.reliable) return { flow, behind: undefined, cameBy: flow };
  // DEVIATION: RFC 3261 §12.2.1.1 sends to the Contact. A client that came straight here, and whose Via does not say
  // where it came from, is behind a NAT. Its Contact is of no use then. Registrars and proxies in the field do the
  // same.
  // RFC 5626 §4.3: with `ob` the client itself asks for that.
  if (via === undefined || (isAt(via.host, flow.remoteAddress) && !asksForFlow(contact)))
    return { flow: undefined, behind: undefined, cameBy: flow };
  const from = { transport: flow.transport, address: flow.remoteAddress, port: flow.remotePort };
  return { flow: undefined, behind: from, cameBy: flow };
}

/** Whether a Contact says `ob`. It is rare, so the URI is read only where the text has it. */
function asksForFlow(contact: { readonly uri: string } | undefined): boolean {
  return contact?.uri.includes(";ob") === true && sipUriOf(contact.uri)?.params.has("ob") === true;
}

/** Whether a peer can be reached without its Contact. */
export const isKnown = ({ flow, behind }: WayBack): boolean => flow !== undefined || behind !== undefined;

/** Whether a peer is where it says. Not for a link-local address: it needs a zone, which no message carries. */
const isAt = (host: string, address: string): boolean => sameHost(host, address) && !address.includes("%");
