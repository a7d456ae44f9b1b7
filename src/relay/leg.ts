import type { Side } from "../../machines/events.ts";
import type { SipRequest, SipResponse } from "../sip/message.ts";
import { parseUri } from "../sip/uri.ts";
import type { ClientTransaction, ClientTransactionUser } from "../transaction/types.ts";
import type { Destination, Flow } from "../transport/types.ts";
import type { Answer } from "./answer.ts";
import type { Core } from "./core.ts";
import { confirmDialog, type Dialog, nextHop, refreshTarget, requestWithin } from "./dialog.ts";
import { offeredPackages } from "./passing.ts";
import type { Session } from "./session.ts";

/** One half of a session: a dialog with the client or with the app server, and the way to speak in it. */
export class Leg {
  readonly side: Side;
  /** Another one when a part of the session gives way to the next (M20-M22). */
  session: Session;
  readonly dialog: Dialog;
  /** Info Packages that this peer offered to receive (RFC 6086 §5.2). */
  offered: readonly string[] = [];
  /** A 2xx of ours whose ACK is awaited: of the first INVITE, or of a re-INVITE. */
  answer: Answer | undefined;
  /** True once both ends know the dialog: a 2xx was sent or received (RFC 3261 §12). */
  confirmed = false;
  /** Called instead of a BYE where the peer has not answered yet: the relay's INVITE to a client (M23). */
  unwanted: (() => void) | undefined;
  private readonly core: Core;

  /** `listens`: messages of this dialog come here. A stray dialog is only spoken in, to end it. */
  constructor(core: Core, session: Session, side: Side, dialog: Dialog, listens = true) {
    this.core = core;
    this.session = session;
    this.side = side;
    this.dialog = dialog;
    if (!listens) return;
    core.legs.set(dialog.localTag, this);
    if (dialog.flow) this.joinFlow(dialog.flow);
  }

  /** A new request in this dialog, not yet sent. */
  request(method: string): SipRequest {
    return requestWithin(this.dialog, method);
  }

  /** Sends a request in a transaction of its own. Where the peer's name must be resolved first, the transaction comes later. */
  send(request: SipRequest, user: ClientTransactionUser, started?: (transaction: ClientTransaction) => void): void {
    route(
      this.core,
      this.dialog,
      (destination, flow) => {
        const transaction = this.core.transactions.send(request, destination, user, flow);
        started?.(transaction);
      },
      (reason) => user.transportError(reason),
    );
  }

  /** Sends the ACK of a 2xx; `seq` is the number of the INVITE (RFC 3261 §13.2.2.4). */
  sendAck(seq: number, fill?: (ack: SipRequest) => void): void {
    const ack = requestWithin(this.dialog, "ACK", seq);
    fill?.(ack);
    route(
      this.core,
      this.dialog,
      (destination, flow) => {
        this.core.transactions.sendAck(ack, destination, flow);
      },
      () => undefined,
    );
  }

  /** The peer's first 2xx: from now on the dialog is confirmed (RFC 3261 §12.1.2). */
  confirm(response: SipResponse): void {
    this.confirmed = true;
    // Another end than the one of the early dialog: it counts by itself.
    if (this.dialog.remoteTag !== "" && this.dialog.remoteTag !== response.toTag) this.dialog.remoteSeq = -1;
    if (!confirmDialog(this.dialog, response)) this.noContact(response);
    this.offered = offeredPackages(response.headers);
  }

  /** Whether proxies that the peer named lead to it. */
  get routed(): boolean {
    return this.dialog.routes.length > 0;
  }

  refresh(message: SipRequest | SipResponse): void {
    refreshTarget(this.dialog, message);
  }

  /** Takes the number of a request of the peer; false where it is older than one taken before (RFC 3261 §12.2.2). */
  takeSeq(request: SipRequest): boolean {
    const number = request.cseq?.number ?? 0;
    if (number <= this.dialog.remoteSeq) return false;
    this.dialog.remoteSeq = number;
    return true;
  }

  /** A 2xx needs a Contact (RFC 3261 §12.1.1). Without one it is acknowledged, and ended, where it was asked: nobody is left in a session. */
  private noContact({ headers }: SipResponse): void {
    const facts = { session: this.session.id, appServer: this.session.appServer.id, side: this.side };
    const contact = headers.get("contact")?.slice(0, 200);
    const kind = `no contact ${this.side} ${this.session.appServer.id}`;
    this.core.sparseLog.warn(kind, { ...facts, contact }, "an answer has no Contact that can be used");
  }

  close(): void {
    this.answer?.stop();
    this.core.legs.delete(this.dialog.localTag);
    const flow = this.dialog.flow;
    const legs = flow && this.core.legsByFlow.get(flow);
    if (legs?.delete(this) && legs.size === 0) this.core.legsByFlow.delete(flow!);
  }

  private joinFlow(flow: Flow): void {
    const legs = this.core.legsByFlow.get(flow);
    if (legs) legs.add(this);
    else this.core.legsByFlow.set(flow, new Set([this]));
  }
}

/**
 * Finds out where the dialog's next request goes and over which connection; at once where that is known, as it is for an address.
 */
export function route(
  core: Pick<Core, "resolve">,
  dialog: Dialog,
  found: (destination: Destination, flow?: Flow) => void,
  failed: (reason: string) => void,
): void {
  const flow = dialog.flow?.open ? dialog.flow : undefined;
  const known = flow
    ? { transport: flow.transport, address: flow.remoteAddress, port: flow.remotePort }
    : (dialog.behind ?? dialog.destination);
  if (known) {
    found(known, flow);
    return;
  }
  const uri = parseUri(nextHop(dialog));
  if (!uri.ok || (uri.value.scheme !== "sip" && uri.value.scheme !== "sips")) {
    failed(`no way to ${nextHop(dialog)}`);
    return;
  }
  core.resolve(uri.value, (destinations) => {
    const destination = destinations[0];
    if (!destination) {
      failed(`${nextHop(dialog)} does not resolve`);
      return;
    }
    dialog.destination = destination;
    found(destination);
  });
}
