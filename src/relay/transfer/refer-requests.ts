import { parseEvent, parseTargetDialog } from "../../sip/refer.ts";
import type { NewRequest, ServerTransaction } from "../../transaction/types.ts";
import { reply } from "../dialog/reply.ts";
import { whenSignedIn } from "../leg/sign-in.ts";
import { takesContact } from "../leg/takes-contact.ts";
import type { Core, LegPort as Leg } from "../model/core.ts";
import type { TransferPort } from "../model/ports.ts";
import { findClientLeg } from "../session/move.ts";

/* Takes REFER and SUBSCRIBE from the router to a session and its move. */

/** A REFER outside of a dialog: Target-Dialog says which session it is about (RFC 4538, RFC 7647 §4). */
export function takeReferOutside(core: Core, transaction: NewRequest): void {
  whenSignedIn(core, core.authenticator, transaction, (user) => referOf(core, transaction, user));
}

function referOf(core: Core, transaction: ServerTransaction, user: string): void {
  const text = transaction.request.headers.get("target-dialog");
  if (text === undefined) {
    reply(transaction, 403, [], "A REFER outside of a session needs Target-Dialog");
    return;
  }
  const target = parseTargetDialog(text);
  if (!target.ok) {
    reply(transaction, 400, [], target.error);
    return;
  }
  const leg = findClientLeg(core, target.value);
  if (!leg || leg.session.facts.user !== core.directory.account(user))
    reply(transaction, 481); // Another user must not learn that the session exists.
  else if (takesContact(core, transaction))
    leg.session.actor.send({ type: "refer", from: "client", payload: transaction });
}

/** A REFER inside a session. The client is authenticated again (M23); an app server is known by its dialog. */
export function takeReferInside(core: Core, leg: Leg, transaction: NewRequest): void {
  const take = () => leg.session.actor.send({ type: "refer", from: leg.side, payload: transaction });
  if (leg.side === "server") {
    take();
    return;
  }
  whenSignedIn(core, core.authenticator, transaction, (user) => {
    if (core.directory.account(user) !== leg.session.facts.user) reply(transaction, 403, [], "Not Your Session");
    else if (leg.closed) reply(transaction, 481);
    else take();
  });
}

/** Takes a SUBSCRIBE. The only subscriptions are those that a REFER has made (RFC 3515 §2.4.4). */
export function takeSubscribe(transfer: TransferPort | undefined, transaction: ServerTransaction): void {
  const text = transaction.request.headers.get("event");
  const event = text === undefined ? undefined : parseEvent(text);
  if (!event?.ok || event.value.name !== "refer") {
    reply(transaction, 489, [["Allow-Events", "refer"]]); // RFC 6665 §4.2.1.1
    return;
  }
  if (transfer) transfer.subscribe(transaction, event.value.id);
  else reply(transaction, 481);
}
