import { parseNameAddr, splitList } from "../sip/headers.ts";
import { Headers, SipRequest, type SipResponse } from "../sip/message.ts";
import { detach, inOnePiece } from "../sip/text.ts";
import { hasLooseRouting } from "../sip/uri.ts";
import { sameHost } from "../support/address.ts";
import type { Destination, Flow } from "../transport/types.ts";

/**
 * One end's half of a session: a dialog of RFC 3261 §12, plain data, so that another node can take it up.
 * `local` is the relay in it, `remote` the client or the app server.
 */
export interface Dialog {
  readonly callId: string;
  readonly localTag: string;
  remoteTag: string;
  /** From and To of our requests, each with its tag. */
  readonly local: string;
  remote: string;
  /** URI of the peer's Contact. */
  remoteTarget: string;
  routes: readonly string[];
  localSeq: number;
  remoteSeq: number;
  /** Our Contact in this dialog. */
  readonly contact: string;
  /** Where to send when the Contact cannot be reached from here: a peer behind a NAT is answered where it called from. */
  readonly behind?: Destination | undefined;
  /** The connection on which the peer came; used while it is open. */
  flow?: Flow | undefined;
  /** Where requests go, once found out. */
  destination?: Destination | undefined;
}

/** The dialog that an INVITE from the client opens with our answer (RFC 3261 §12.1.1). */
export function dialogAsServer(invite: SipRequest, localTag: string, contact: string, flow: Flow): Dialog {
  const direct = invite.headers.count("via") === 1 && !invite.headers.has("record-route");
  const via = invite.via;
  // DEVIATION: RFC 3261 §12.2.1.1 sends to the Contact; a client that came straight here and whose Via is not where it came
  // from sits behind a NAT, where its Contact is of no use. Registrars and proxies in the field do the same.
  const natted = direct && flow.transport === "udp" && via !== undefined && !isThere(via.host, flow.remoteAddress);
  return {
    callId: detach(invite.callId),
    localTag,
    remoteTag: detach(invite.fromTag ?? ""),
    local: inOnePiece(`${invite.headers.get("to") ?? ""};tag=${localTag}`),
    remote: detach(invite.headers.get("from") ?? ""),
    remoteTarget: contactUri(invite) ?? "",
    routes: routeList(invite.headers),
    localSeq: 0,
    remoteSeq: invite.cseq?.number ?? 0,
    contact,
    behind: natted ? { transport: "udp", address: flow.remoteAddress, port: flow.remotePort } : undefined,
    flow: direct && flow.reliable ? flow : undefined,
    destination: undefined,
  };
}

/** Whether a peer is at the address that it names. Nobody can be reached at a link-local one without its zone, which no message carries. */
const isThere = (host: string, address: string): boolean => sameHost(host, address) && !address.includes("%");

/** Takes over what the peer's answer to our INVITE says of the dialog (RFC 3261 §12.1.2). */
export function confirmDialog(dialog: Dialog, response: SipResponse): void {
  dialog.remoteTag = detach(response.toTag ?? "");
  dialog.remote = detach(response.headers.get("to") ?? "");
  dialog.routes = routeList(response.headers).toReversed();
  refreshTarget(dialog, response);
}

/** A target refresh: the peer's new Contact counts from now on (RFC 3261 §12.2.1.2, §12.2.2). */
export function refreshTarget(dialog: Dialog, message: SipRequest | SipResponse): void {
  const target = contactUri(message);
  if (target === undefined || target === dialog.remoteTarget) return;
  dialog.remoteTarget = target;
  dialog.destination = undefined;
}

/** A request inside the dialog (RFC 3261 §12.2.1.1), without Via. `seq` is given for ACK, which repeats the INVITE's number. */
export function requestWithin(dialog: Dialog, method: string, seq?: number): SipRequest {
  const number = seq ?? ++dialog.localSeq;
  const headers = new Headers();
  let uri = dialog.remoteTarget;
  let routes = dialog.routes;
  const first = routes[0];
  if (first !== undefined && !hasLooseRouting(uriOf(first))) {
    // A strict router wants its own URI as Request-URI and the target last.
    uri = uriOf(first);
    routes = [...routes.slice(1), `<${dialog.remoteTarget}>`];
  }
  for (const route of routes) headers.add("Route", route);
  headers.add("From", dialog.local).add("To", dialog.remote).add("Call-ID", dialog.callId);
  headers.add("CSeq", `${number} ${method}`).add("Max-Forwards", "70");
  if (method !== "ACK" && method !== "BYE" && method !== "PRACK") headers.add("Contact", dialog.contact);
  return new SipRequest(method, uri, headers);
}

/** The URI by which the next request finds its way: the first route, else the peer's Contact (RFC 3261 §8.1.2). */
export function nextHop(dialog: Dialog): string {
  const first = dialog.routes[0];
  return first === undefined ? dialog.remoteTarget : uriOf(first);
}

const NO_ROUTES: readonly string[] = [];

function routeList(headers: Headers): readonly string[] {
  if (!headers.has("record-route")) return NO_ROUTES;
  return headers.all("record-route").flatMap((line) => splitList(line).map(detach));
}

function contactUri(message: SipRequest | SipResponse): string | undefined {
  const { contact } = message;
  return contact && detach(contact.uri);
}

function uriOf(route: string): string {
  const address = parseNameAddr(route);
  return address.ok ? address.value.uri : route;
}
