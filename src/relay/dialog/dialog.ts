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

/**
 * One end's half of a session: a dialog of RFC 3261 §12. All of it is plain data, but for the ways to its peer, which
 * are found anew where the session goes on after a restart. `local` is the relay in it, `remote` the client or app
 * server.
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
  /**
   * Where to send when the Contact cannot be reached from here: a peer behind a NAT is answered where it called from.
   */
  behind?: Destination | undefined;
  /** The connection on which the peer came; used while it is open. */
  flow?: Flow | undefined;
  /** Where requests go, once found out. */
  destination?: Destination | undefined;
  /** A client's: where it came from last. An app server's has none. */
  cameFrom?: CameFrom | undefined;
  /** The connection by which it came over proxies; used while it is open and nothing else leads there. */
  cameBy?: Flow | undefined;
  /** A client's that has been at more than one place: whether it is where it seems to be. */
  doubt?: Doubt | undefined;
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
    cameFrom: placeOf(flow),
    cameBy: cameByOf(flow, way.flow),
  };
}

/** The connection is of use where nothing else is known of the way. */
const cameByOf = (flow: Flow, known: Flow | undefined): Flow | undefined =>
  flow.reliable && known === undefined ? flow : undefined;

/** Where whoever came by that flow is. */
export const placeOf = ({ transport, remoteAddress, remotePort, cameTo }: Flow): CameFrom => ({
  transport,
  address: remoteAddress,
  port: remotePort,
  leavesBy: cameTo,
});

/** The dialog that a 2xx to an INVITE of ours makes, from what stands in it alone (RFC 3261 §12.1.2). */
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
 * Takes over what the peer's answer to our INVITE says of the dialog (RFC 3261 §12.1.2). False where it has no
 * Contact that can be used: then the peer is reached where it was asked.
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
  if (!isTarget(target, found)) return false;
  dialog.remoteTarget = detach(target);
  dialog.destination = undefined;
  return true;
}

/**
 * Takes the number of a request of the peer; false where it is lower than one taken before (RFC 3261 §12.2.2). The
 * same again is another request of a peer that does not count: one that came again has been absorbed by its
 * transaction. What would move the dialog has to be a new one.
 */
export function takeSeq(dialog: Dialog, request: SipRequest): boolean {
  const number = request.cseq?.number ?? 0;
  const { remoteSeq } = dialog;
  if (number < remoteSeq || (number === remoteSeq && refreshesTarget(request.method))) return false;
  dialog.remoteSeq = number;
  return true;
}

/**
 * This is the way to the peer from now on, and the Contact one of ours where it came from. False where it was so
 * before.
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
    dialog.destination = undefined;
  }
  const contact = `<sip:${transport.contactFor(way.cameBy)}${told === undefined ? "" : `;heard=${told}`}>`;
  if (told !== undefined) dialog.contact = contact;
  if (way.flow === dialog.flow && isSame(way.behind, dialog.behind) && bySameSocket) return false;
  dialog.flow = way.flow;
  dialog.behind = way.behind;
  dialog.destination = undefined;
  dialog.contact = contact;
  return true;
}

const isSame = (a: Destination | undefined, b: Destination | undefined): boolean =>
  a === b ||
  (a?.address === b?.address && a?.port === b?.port && a?.transport === b?.transport && a?.leavesBy === b?.leavesBy);

/**
 * A request inside the dialog (RFC 3261 §12.2.1.1), without Via. `seq` is given for ACK, which repeats the INVITE's
 * number.
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
