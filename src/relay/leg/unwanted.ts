import { bringsCharges } from "../../charging/charges/body.ts";
import type { SipResponse } from "../../sip/message.ts";
import { shown } from "../../support/peer-log.ts";
import type { ClientTransactionUser } from "../../transaction/types.ts";
import type { Flow } from "../../transport/types.ts";
import { hostPort } from "../../transport/via.ts";
import { dialogOf, placeOf, requestWithin } from "../dialog/dialog.ts";
import type { Core } from "../model/core.ts";
import { route } from "./route.ts";

/**
 * Acknowledges a 2xx to an INVITE of the relay that nobody wants: without an ACK it is repeated for 64*T1. All that is
 * needed stands in the 2xx itself. `flow`: by which the INVITE went. `ends`: the 2xx makes a dialog that nobody has,
 * such as with another end behind an app server that forks, or with another device of a client. A BYE ends that dialog
 * (RFC 3261 §13.2.2.4).
 */
export function acknowledgeUnwanted(core: Core, response: SipResponse, flow: Flow, ends: boolean): void {
  const dialog = dialogOf(response);
  const place = placeOf(flow);
  if (!core.reach.isAppServer(place)) {
    // The INVITE went to a client (M23), so a client has answered. It is reached by the same way, whatever its Contact
    // says.
    dialog.cameFrom = place;
    if (flow.reliable) dialog.flow = flow;
  }
  if (dialog.remoteTarget === "") {
    const { transport, remoteAddress: address, remotePort: port } = flow;
    dialog.remoteTarget = `sip:${hostPort(address, port)}`;
    if (dialog.routes.length === 0) dialog.destination = { transport, address, port };
  }
  const ack = requestWithin(dialog, "ACK", dialog.localSeq);
  route(
    core,
    dialog,
    (destination, by) => {
      core.transactions.sendAck(ack, destination, by);
      if (ends) core.transactions.send(requestWithin(dialog, "BYE"), destination, new Farewell(core, flow), by);
    },
    () => undefined, // the route leads nowhere
  );
}

/** Nobody waits for the answer to this BYE. Charges in it belong to no session, and the log says so. */
class Farewell implements ClientTransactionUser {
  private readonly core: Core;
  private readonly flow: Flow;

  constructor(core: Core, flow: Flow) {
    this.core = core;
    this.flow = flow;
  }

  final({ headers, callId, body }: SipResponse): void {
    if (!bringsCharges(headers.get("content-type"), body)) return;
    this.core.counters.chargesRefused++;
    const facts = { from: this.flow.remoteAddress, callId: shown(callId) };
    this.core.peerLog.warn("charges of an end with which nobody is in a session are not taken", facts.from, facts);
  }

  timeout(): void {}

  transportError(): void {}
}
