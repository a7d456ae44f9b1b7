import { parseNameAddr, splitList } from "../../sip/headers.ts";
import { Headers, SipRequest, type SipResponse } from "../../sip/message.ts";
import { detach, inOnePiece } from "../../sip/text.ts";
import { hasLooseRouting } from "../../sip/uri.ts";
import type { Random } from "../../support/random.ts";
import type { Destination, Flow, TransportLayer } from "../../transport/types.ts";
import { isTarget, refreshesTarget, type WayBack, wayBack } from "./contact.ts";
import { type Doubt, doubtOf } from "./doubt.ts";
import { withoutPassword } from "./passing.ts";
import type { CameFrom } from "./reach.ts";
import { contactUri, isSecured, isSips } from "./sips.ts";

/**
 * A dialog of RFC 3261 §12 between the relay (`local`) and the client or app server (`remote`). All of it is plain
 * data, except for the ways to the peer: these are found anew where a session goes on after a restart.
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
  contact: string;
  /** Where to send instead of the Contact: the address that a peer behind a NAT called from. */
  behind?: Destination | undefined;
  /** The connection on which the peer came; used while it is open. */
  flow?: Flow | undefined;
  /** Where requests go, once this is resolved. */
  destination?: Destination | undefined;
  /** The other addresses of the same name, for requests that find nobody at `destination` (RFC 3263 §4.3). */
  others?: Destination[] | undefined;
  /** The name that an app server has proved by its certificate. */
  peerName?: string | undefined;
  /** Where the client came from last. An app server's dialog has none. */
  cameFrom?: CameFrom | undefined;
  /**
   * The connection by which the client came over proxies. Used while it is open, and if nothing else leads to the
   * client.
   */
  cameBy?: Flow | undefined;
  /** For a client that has been at more than one address: whether it really is where it seems to be. */
  doubt?: Doubt | undefined;
  /** It goes on at another node, or from another copy of it: nothing that was sent is repeated here. */
  released?: true;
}

/** The dialog that an INVITE from the client opens with our answer (RFC 3261 §12.1.1). */
export function dialogAsServer(invite: SipRequest, localTag: string, contact: string, flow: Flow): Dialog {
  const routes = routeList(invite.headers);
  const way = wayBack(invite, flow, routes.length > 0);
  return {
    callId: detach(invite.callId),
    localTag,
    remoteTag: detach(invite.fromTag ?? ""),
    local: inOnePiece(`${withoutPassword(invite.headers.get("to") ?? "")};tag=${localTag}`),
    remote: detach(withoutPassword(invite.headers.get("from") ?? "")), // it is kept on disk, too
    remoteTarget: detach(invite.contact?.uri ?? ""),
    routes,
    localSeq: 0,
    remoteSeq: invite.cseq?.number ?? 0,
    contact,
    behind: way.behind,
    flow: way.flow,
    destination: undefined,
    peerName: undefined,
    cameFrom: placeOf(flow),
    cameBy: cameByOf(flow, way.flow),
  };
}

/** The connection is only of use where it is not the dialog's flow already. */
const cameByOf = (flow: Flow, known: Flow | undefined): Flow | undefined =>
  flow.reliable && known === undefined ? flow : undefined;

/** The address of the peer that came by a flow. */
export const placeOf = ({ transport, remoteAddress, remotePort, cameTo }: Flow): CameFrom => ({
  transport,
  address: remoteAddress,
  port: remotePort,
  leavesBy: cameTo,
});

/** The dialog that a 2xx to an INVITE of ours makes, read from that 2xx alone (RFC 3261 §12.1.2). */
export function dialogOf(response: SipResponse): Dialog {
  const dialog: Dialog = {
    callId: response.callId,
    localTag: response.fromTag ?? "",
    remoteTag: "",
    local: response.headers.get("from") ?? "",
    remote: "",
    remoteTarget: "",
    routes: NO_ROUTES,
    localSeq: response.cseq?.number ?? 0,
    remoteSeq: -1,
    contact: "",
  };
  confirmDialog(dialog, response);
  return dialog;
}

/**
 * Takes over what the peer's answer to our INVITE says of the dialog (RFC 3261 §12.1.2). False where the answer has no
 * usable Contact: then the peer is reached where the INVITE went.
 */
export function confirmDialog(dialog: Dialog, response: SipResponse): boolean {
  dialog.remoteTag = detach(response.toTag ?? "");
  dialog.remote = detach(response.headers.get("to") ?? "");
  dialog.routes = routeList(response.headers).toReversed();
  return refreshTarget(dialog, response);
}

/**
 * A target refresh: the peer's new Contact counts from now on (RFC 3261 §12.2.1.2, §12.2.2). False where there is
 * none that can be used.
 */
export function refreshTarget(dialog: Dialog, message: SipRequest | SipResponse): boolean {
  const target = message.contact?.uri;
  if (target === undefined || target === dialog.remoteTarget) return target !== undefined;
  const found =
    message.isRequest || dialog.routes.length > 0 || dialog.flow !== undefined || dialog.behind !== undefined;
  // An answer with a sips Contact where the dialog is not secured, or the other way round, breaks RFC 3261 §12.1.1.
  if (!message.isRequest && dialog.contact !== "" && isSips(target) !== isSecured(dialog)) return false;
  if (!isTarget(target, found, dialog.remoteTarget)) return false;
  dialog.remoteTarget = detach(target);
  dialog.destination = dialog.others = undefined;
  return true;
}

/**
 * Takes the CSeq number of a peer's request. False where it is lower than one taken before (RFC 3261 §12.2.2). An equal
 * number is tolerated: it is not a retransmission, which the transaction absorbs, but another request of a peer that
 * does not count. A target refresh needs a higher number, because it would move the dialog.
 */
export function takeSeq(dialog: Dialog, request: SipRequest): boolean {
  const number = request.cseq?.number ?? 0;
  const { remoteSeq } = dialog;
  if (number < remoteSeq || (number === remoteSeq && refreshesTarget(request.method))) return false;
  dialog.remoteSeq = number;
  return true;
}

/**
 * Makes this the way to the peer from now on, and takes as our Contact the address that the peer came to. False where
 * nothing changes.
 */
export function takeWay(
  dialog: Dialog,
  way: WayBack,
  { transport, random }: { readonly transport: Pick<TransportLayer, "contactFor">; readonly random: Random },
): boolean {
  const cameFrom = placeOf(way.cameBy);
  dialog.doubt = doubtOf(dialog.doubt, dialog.cameFrom, way.cameBy);
  const told = dialog.doubt?.movedTo(way.cameBy, random);
  const bySameSocket = cameFrom.leavesBy === dialog.cameFrom?.leavesBy;
  if (!isSame(cameFrom, dialog.cameFrom)) {
    dialog.cameFrom = cameFrom;
    dialog.cameBy = cameByOf(way.cameBy, way.flow);
    dialog.destination = dialog.others = undefined;
  }
  const contact = contactUri(transport.contactFor(way.cameBy), isSecured(dialog), told);
  if (told !== undefined) dialog.contact = contact;
  if (way.flow === dialog.flow && isSame(way.behind, dialog.behind) && bySameSocket) return false;
  dialog.flow = way.flow;
  dialog.behind = way.behind;
  dialog.destination = dialog.others = undefined;
  dialog.contact = contact;
  return true;
}

const isSame = (a: Destination | undefined, b: Destination | undefined): boolean =>
  a === b ||
  (a?.address === b?.address && a?.port === b?.port && a?.transport === b?.transport && a?.leavesBy === b?.leavesBy);

/**
 * Makes a request inside the dialog (RFC 3261 §12.2.1.1), without Via. `seq` is given for ACK, which repeats the
 * INVITE's number.
 */
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

function uriOf(route: string): string {
  const address = parseNameAddr(route);
  return address.ok ? address.value.uri : route;
}
