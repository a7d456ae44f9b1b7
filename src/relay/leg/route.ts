import type { SipRequest } from "../../sip/message.ts";
import { sipUriOf } from "../../sip/uri.ts";
import type { ClientTransaction, ClientTransactionUser } from "../../transaction/types.ts";
import type { Destination, Flow } from "../../transport/types.ts";
import { type Dialog, nextHop, placeOf } from "../dialog/dialog.ts";
import { isSecured, maySecure } from "../dialog/sips.ts";
import type { Core } from "../model/core.ts";

/** Sends a request of the dialog to the peer, in a transaction of its own. */
export function sendWithin(
  core: Pick<Core, "resolve" | "reach" | "transactions">,
  dialog: Dialog,
  request: SipRequest,
  user: ClientTransactionUser,
  started?: (transaction: ClientTransaction) => void,
): void {
  route(
    core,
    dialog,
    (destination, flow) => {
      if (dialog.others && flow === undefined) {
        sendToOneOf(core, dialog, dialog.others, destination, request, user, started);
        return;
      }
      const doubt = flow === undefined && dialog.doubt?.isAbout(destination.address) ? dialog.doubt : undefined;
      const listens = doubt ? doubt.listening(user) : user;
      const repeats = doubt?.repeatsTo(destination.address);
      const transaction = core.transactions.send(request, destination, listens, flow, repeats, dialog);
      started?.(transaction);
    },
    (reason) => user.transportError(reason),
  );
}

/**
 * The peer has several addresses. Where one cannot be reached, is silent, or has no room, the request goes to the next,
 * as a transaction of its own (RFC 3263 §4.3), and so does what follows in the dialog. Each address is tried once.
 */
function sendToOneOf(
  core: Pick<Core, "transactions">,
  dialog: Dialog,
  others: Destination[],
  destination: Destination,
  request: SipRequest,
  user: ClientTransactionUser,
  started: ((transaction: ClientTransaction) => void) | undefined,
): void {
  let isThere = false;
  /** False: there is no other address. */
  const next = (): boolean => {
    if (isThere || dialog.released) return false;
    // A request that was sent beside this one may have found the next address already.
    if (!dialog.destination || isSamePlace(dialog.destination, destination)) dialog.destination = others.shift();
    const other = dialog.destination;
    if (!other) return false;
    request.headers.fields.shift(); // the Via of the address before
    request.changed();
    sendToOneOf(core, dialog, others, other, request, user, started);
    return true;
  };
  const listens: ClientTransactionUser = {
    provisional(response) {
      isThere = true;
      user.provisional?.(response);
    },
    final(response) {
      if (response.status !== 503 || !next()) user.final(response);
    },
    timeout() {
      if (!next()) user.timeout();
    },
    transportError(reason) {
      if (!next()) user.transportError(reason);
    },
  };
  const transaction = core.transactions.send(request, destination, listens, undefined, undefined, dialog);
  started?.(transaction);
}

/**
 * Finds out where the dialog's next request goes, and over which connection; at once where that is known, as for an IP
 * address. reach.ts says where requests must not go.
 */
export function route(
  core: Pick<Core, "resolve" | "reach">,
  dialog: Dialog,
  found: (destination: Destination, flow?: Flow) => void,
  failed: (reason: string) => void,
): void {
  const flow = dialog.flow?.open ? dialog.flow : undefined;
  const known = flow ? placeOf(flow) : (dialog.behind ?? dialog.destination);
  if (known) {
    found(leaving(known, dialog), flow);
    return;
  }
  const uri = sipUriOf(nextHop(dialog));
  const choose = (destinations: readonly Destination[]) => {
    const chosen = core.reach.choose(destinations, dialog.cameFrom);
    const destination = chosen && towardsProven(chosen, dialog.peerName);
    const { cameBy } = dialog;
    if (destination && isSecured(dialog) && !maySecure(destination))
      failed(`${nextHop(dialog)} is not secure, and the dialog is`);
    else if (destination) {
      dialog.destination = destination;
      dialog.others = othersOf(core, dialog, destinations, chosen);
      found(leaving(destination, dialog));
    } else if (cameBy?.open) found(placeOf(cameBy), cameBy);
    else
      failed(
        destinations.length > 0 ? `${nextHop(dialog)} is not where the peer is` : `${nextHop(dialog)} does not resolve`,
      );
  };
  if (uri) core.resolve(uri, choose);
  else choose(NOWHERE);
}

/** The addresses that a request may go to instead. Undefined: none, as for nearly all peers. */
function othersOf(
  core: Pick<Core, "reach">,
  dialog: Dialog,
  destinations: readonly Destination[],
  chosen: Destination | undefined,
): Destination[] | undefined {
  if (destinations.length < 2) return undefined;
  const others: Destination[] = [];
  for (const one of destinations) {
    if (one === chosen || core.reach.choose([one], dialog.cameFrom) !== one) continue;
    const other = towardsProven(one, dialog.peerName);
    if (!isSecured(dialog) || maySecure(other)) others.push(leaving(other, dialog));
    if (others.length === MAX_OTHERS) break;
  }
  return others.length > 0 ? others : undefined;
}

/** How many addresses of a peer are tried after the first. */
const MAX_OTHERS = 3;

const NOWHERE: readonly Destination[] = [];

/**
 * Where a dialog goes on whose peer has proved its name. A Contact may have an address in place of the name, and that
 * name must be proved all the same. And it may say `ws` for secure WebSocket, as RFC 7118 knows no `wss`.
 */
function towardsProven(chosen: Destination, peerName: string | undefined): Destination {
  if (peerName === undefined) return chosen;
  if (chosen.transport === "ws") return { ...chosen, transport: "wss", name: peerName };
  return chosen.name === chosen.address ? { ...chosen, name: peerName } : chosen;
}

/** A NAT lets messages through only from the socket that the peer came to. */
const leaving = (destination: Destination, { cameFrom }: Dialog): Destination =>
  cameFrom?.leavesBy === undefined ? destination : { ...destination, leavesBy: cameFrom.leavesBy };

const isSamePlace = (a: Destination, b: Destination): boolean =>
  a.transport === b.transport && a.address === b.address && a.port === b.port;
