import type { Failure, Side, TransferEvent } from "../../../machines/events.ts";
import { transferMachine } from "../../../machines/transfer.ts";
import { FAULT, type OpenRecord } from "../../calls/open-record.ts";
import { ChartActor, type Owner, ownerOf } from "../../chart/actor.ts";
import type { Chart } from "../../chart/chart.ts";
import { expectProvided } from "../../chart/nodes.ts";
import { chartFrom } from "../../chart/table.ts";
import { withTag } from "../../sip/headers.ts";
import { Headers, SipRequest, SipResponse } from "../../sip/message.ts";
import { parseExpires, wantsSubscription } from "../../sip/refer.ts";
import { asReasonPhrase, reasonPhrase } from "../../sip/response.ts";
import { sipfrag } from "../../sip/sipfrag.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import type { Flow } from "../../transport/types.ts";
import { wayBack } from "../dialog/contact.ts";
import { type Dialog, dialogAsServer, refreshTarget, takeSeq, takeWay } from "../dialog/dialog.ts";
import { OF_BODY } from "../dialog/passing.ts";
import { reply } from "../dialog/reply.ts";
import { contactUri, isSips } from "../dialog/sips.ts";
import { Leg } from "../leg/leg.ts";
import type { Core, SessionPort as Session } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";
import { refusalOfNew } from "../model/new-sessions.ts";
import { recordOf } from "../model/records.ts";
import { ClientRequest } from "../request/request.ts";
import { ClientInvitation, dialogBeside } from "./client-invitation.ts";
import { type Referral, readRefer } from "./referral.ts";
import { Reports } from "./reports.ts";

/**
 * The SIP side of one move by REFER: the REFER itself, the reports to its sender, the request for the second service,
 * and the INVITE to the client. The chart (machines/transfer.ts) decides what happens when; its actions are done here.
 */
export class Transfer implements Owner {
  readonly id: string;
  /** The session in which, or for which, the REFER came. */
  readonly first: Session;
  readonly from: Side;
  /** A REFER that opens a dialog always comes from a client. */
  readonly side = "client" satisfies Side;
  private readonly core: Core;
  private readonly transaction: ServerTransaction;
  private readonly record: OpenRecord | undefined;
  private readonly actor: ChartActor<typeof transferMachine>;
  /** The dialog with the sender of the REFER: that of the first session, or one that the REFER opens (RFC 4538). */
  private readonly dialog: Dialog;
  /** The REFER came outside of a session, and opened a dialog of its own. */
  readonly outside: boolean;
  private referral: Referral | undefined;
  private reports: Reports | undefined;
  private request: ClientRequest | undefined;
  private second: Session | undefined;
  private answer: SipResponse | undefined;
  private invitation: ClientInvitation | undefined;
  closed = false;

  constructor(core: Core, first: Session, from: Side, transaction: ServerTransaction) {
    this.core = core;
    this.first = first;
    this.from = from;
    this.transaction = transaction;
    this.id = core.random.token(96);
    this.record = recordOf(transaction);
    this.record?.hold();
    this.record?.isNamed(this.id, first.facts.call);
    const { request, flow } = transaction;
    this.outside = request.toTag === undefined;
    this.dialog = this.outside
      ? dialogAsServer(
          request,
          core.random.token(64),
          contactUri(core.transport.contactFor(flow), isSips(request.uri)),
          flow,
        )
      : first.leg(from)!.dialog;
    this.actor = new ChartActor(core.transferLogic, {
      id: this.id,
      input: { id: this.id },
      owner: this,
      inspectors: core.inspectors,
    });
  }

  start(): void {
    this.core.transfers.set(this.id, this);
    this.actor.start();
  }

  /** The client hung up the first session. */
  clientLeft(): void {
    this.send({ type: "client.left" });
  }

  /** Whether a request belongs to the dialog that the REFER opened. */
  owns({ callId, fromTag }: SipRequest): boolean {
    return this.dialog.callId === callId && this.dialog.remoteTag === (fromTag ?? "");
  }

  /** Takes the CSeq number of a request in the dialog that the REFER opened; false: it is an old one. */
  takeSeq(request: SipRequest): boolean {
    return takeSeq(this.dialog, request);
  }

  /** Whether proxies lead to the sender of the REFER. */
  get routed(): boolean {
    return this.dialog.routes.length > 0;
  }

  /** A SUBSCRIBE in the dialog of the reports (RFC 6665 §4.2.1). `eventId`: the id in its Event header field. */
  subscribe(transaction: ServerTransaction, eventId: string | undefined): void {
    if (!this.reports || (eventId !== undefined && eventId !== this.eventId)) {
      reply(transaction, 481); // RFC 6665 §4.2.1.2: there is no such subscription.
      return;
    }
    const boundS = this.core.config.session.moveReportsS;
    const wishS = Math.min(parseExpires(transaction.request.headers.get("expires")) ?? boundS, boundS);
    this.send({ type: "subscribe", until: this.first.now() + wishS * 1000, payload: transaction });
  }

  check(): void {
    const { core, first, transaction } = this;
    const busy = refusalOfNew(core, "session");
    if (busy) {
      this.refuse(busy);
      return;
    }
    // One move at a time: until it is known what becomes of the first, it is not clear what a second one would mean.
    if (first.transfer) {
      this.refuse({ status: 491 });
      return;
    }
    const read = readRefer(core, first, this.from, transaction);
    if (!read.ok) {
      this.refuse(read.error);
      return;
    }
    this.referral = read.value;
    const wanted = wantsSubscription(transaction.request.headers.get("refer-sub"));
    const until = wanted ? first.now() + core.config.session.moveReportsS * 1000 : null;
    this.send({ type: "refer.allowed", until });
  }

  refuseRefer({ status, reason, headers }: Failure): void {
    reply(this.transaction, status, headers, reason);
  }

  acceptRefer(until: number | null): void {
    const { core, dialog } = this;
    this.first.beginMove(this);
    this.followReferrer(this.transaction);
    const response = new SipResponse(200, reasonPhrase(200)); // RFC 7647 §5: 202 is not sent any more.
    response.headers.add("To", dialog.local).add("Contact", dialog.contact);
    if (until === null) response.headers.add("Refer-Sub", "false"); // RFC 4488 §4
    this.transaction.respond(response);
    if (until === null) return;
    if (this.outside) core.transfersByTag.set(dialog.localTag, this);
    const over = () => this.send({ type: "reports.over" });
    this.reports = new Reports(core, dialog, `refer;id=${this.eventId}`, this.first.timeline, until, over);
    this.tell(new SipResponse(100, reasonPhrase(100)));
  }

  /**
   * M23: searches and asks app servers as for a first request. The user has signed in with the REFER or its session.
   */
  askServer(): void {
    const { core, first } = this;
    const { invite, keep, only } = this.referral!;
    const { user } = first;
    const transaction = new ReferredInvite(invite, this.transaction, (response) => this.answered(response));
    const move = {
      first,
      keep,
      ...(only && { only }),
      clientLeg: (second: Session) => this.clientLeg(second),
      withdrawals: () => this.invitation?.withdrawals() ?? [],
    };
    this.request = new ClientRequest(core, transaction, { verdict: "accepted", user }, { move });
    this.request.start();
  }

  withdrawRequest(): void {
    this.request?.giveUp();
  }

  inviteClient(): void {
    const leg = this.second!.client!;
    leg.unwanted = () => this.send({ type: "target.lost" });
    const content = { answer: this.answer!, first: this.first, keep: this.referral!.keep };
    this.invitation = new ClientInvitation(this.core, leg, content, {
      accepted: (response) => this.send({ type: "client.accepted", payload: response }),
      refused: ({ status, reason }) => this.send({ type: "client.refused", failure: { status, reason } }),
    });
    this.invitation.start();
  }

  cancelInvite(): void {
    this.invitation?.cancel();
  }

  dropTarget(): void {
    this.second?.actor.send({ type: "client.refused", at: this.second.now() });
  }

  /**
   * The client's answer goes to the app server in the ACK: if the app server's 200 was an offer, the ACK has the answer
   * to it (RFC 3725 §4.1).
   */
  connect(accepted: SipResponse): void {
    const leg = this.second!.client!;
    const fields = accepted.headers.fields.filter(({ key }) => OF_BODY.has(key));
    leg.acknowledged(new SipRequest("ACK", "", new Headers(fields), accepted.body));
  }

  reportProgress(response: SipResponse): void {
    this.tell(new SipResponse(response.status, asReasonPhrase(response.reason)));
  }

  /**
   * Reports the second app server's answer, as the client would have got it. An app server that has sent the REFER
   * hears only that it worked.
   */
  reportSuccess(): void {
    const { status, reason } = this.answer!;
    this.record?.cameTo(status, reason);
    this.tell(this.from === "client" ? this.answer! : new SipResponse(status, asReasonPhrase(reason)), true);
  }

  reportFailure({ status, reason }: Failure): void {
    this.record?.cameTo(status, reason ?? reasonPhrase(status));
    this.tell(new SipResponse(status, asReasonPhrase(reason ?? reasonPhrase(status))), true);
  }

  answerSubscribe(until: number, transaction: ServerTransaction): void {
    const leftS = Math.max(0, Math.round((until - this.first.now()) / 1000));
    this.followReferrer(transaction);
    const response = new SipResponse(200, reasonPhrase(200));
    response.headers.add("Contact", this.dialog.contact).add("Expires", String(leftS));
    transaction.respond(response);
    this.reports?.prolong(until);
  }

  endReports(): void {
    this.reports = undefined;
  }

  close(): void {
    this.closed = true;
    const { transfers, transfersByTag } = this.core;
    transfers.delete(this.id);
    if (this.outside) transfersByTag.delete(this.dialog.localTag);
    this.first.endMove(this);
    this.record?.letGo();
  }

  /** REFER and SUBSCRIBE refresh the target of their dialog (RFC 4488 §4, RFC 6665 §3.1). */
  private followReferrer(transaction: ServerTransaction): void {
    const { core, dialog } = this;
    if (!this.outside) {
      this.first.leg(this.from)?.moveTo(transaction);
      return;
    }
    dialog.doubt?.heard(transaction.request, transaction.flow);
    refreshTarget(dialog, transaction.request);
    takeWay(dialog, wayBack(transaction.request, transaction.flow, dialog.routes.length > 0), core);
  }

  /** RFC 3515 §2.4.6: the id is the number of the REFER. */
  private get eventId(): string {
    return String(this.transaction.request.cseq?.number ?? 0);
  }

  private send(event: TransferEvent): void {
    if (!this.closed) this.actor.send(event);
  }

  private refuse(failure: Failure): void {
    this.send({ type: "refer.refused", failure });
  }

  private tell(response: SipResponse, last = false): void {
    this.reports?.tell(
      sipfrag(response, ({ key }) => OF_BODY.has(key)),
      last,
    );
  }

  /** Takes the answers of the request for the second service. The relay stands in the client's place here. */
  private answered(response: SipResponse): void {
    const { status, reason } = response;
    if (status < 200) this.send({ type: "target.progress", payload: response });
    else if (status >= 300) this.send({ type: "target.failure", failure: { status, reason } });
    else {
      this.answer = response;
      this.second = this.core.legs.get(response.toTag ?? "")?.session;
      this.send({ type: "target.answer", payload: response });
    }
  }

  private clientLeg(second: Session): Leg {
    const { dialog } = this.first.client!;
    const to = withTag(dialog.remote, undefined);
    return new Leg(this.core, second, "client", dialogBeside(this.core, dialog, this.referral!.invite.uri, to));
  }

  /** A fault of ours ends this one move; the first session goes on (decision 13). */
  crashed(error: unknown): void {
    this.core.counters.crashed++;
    this.record?.because(FAULT);
    const facts = { ...ofSession(this.first), err: error };
    this.core.peerLog.error("a move failed by a fault of the relay", this.first.facts.user, facts);
    if (!this.transaction.answered) reply(this.transaction, 500);
    this.withdrawRequest();
    this.invitation?.cancel();
    this.dropTarget();
    this.reportFailure({ status: 500 });
    this.close();
  }
}

/** The INVITE that a REFER stands for. It takes the place of a transaction with the client. */
class ReferredInvite implements ServerTransaction {
  readonly request: SipRequest;
  readonly flow: Flow;
  /** What comes of it is on the record of the REFER. */
  readonly witness: ServerTransaction["witness"];
  answered = false;
  /** By the NOTIFY that follows the REFER (RFC 3515 §2.4.4). */
  readonly told = true;
  private readonly take: (response: SipResponse) => void;

  constructor(request: SipRequest, refer: ServerTransaction, take: (response: SipResponse) => void) {
    this.request = request;
    this.flow = refer.flow;
    this.witness = refer.witness;
    this.take = take;
  }

  respond(response: SipResponse): void {
    if (this.answered || response.status === 100) return; // A 2xx is repeated until its ACK comes (RFC 3261 §13.3.1.4).
    if (response.status >= 200) this.answered = true;
    this.take(response);
  }
}

/** The chart `transfer` with its actions, made once. */
export function transferLogic(): Chart<typeof transferMachine> {
  type EventOf<T extends TransferEvent["type"]> = Extract<TransferEvent, { type: T }>;
  type Args = { self: unknown; event: TransferEvent };
  const on =
    <T extends TransferEvent["type"]>(act: (transfer: Transfer, event: EventOf<T>) => void) =>
    (args: Args) => {
      const transfer = ownerOf<Transfer>(args);
      if (transfer) act(transfer, args.event as EventOf<T>);
    };
  const machine = transferMachine.provide({
    actions: {
      check: on((transfer) => transfer.check()),
      refuseRefer: (args, failure) => ownerOf<Transfer>(args)?.refuseRefer(failure),
      acceptRefer: on<"refer.allowed">((transfer, { until }) => transfer.acceptRefer(until)),
      askServer: on((transfer) => transfer.askServer()),
      withdrawRequest: on((transfer) => transfer.withdrawRequest()),
      reportProgress: on<"target.progress">((transfer, { payload }) => transfer.reportProgress(payload)),
      inviteClient: on((transfer) => transfer.inviteClient()),
      cancelInvite: on((transfer) => transfer.cancelInvite()),
      dropTarget: on((transfer) => transfer.dropTarget()),
      connect: on<"client.accepted">((transfer, { payload }) => transfer.connect(payload)),
      reportSuccess: on((transfer) => transfer.reportSuccess()),
      reportFailure: (args, failure) => ownerOf<Transfer>(args)?.reportFailure(failure),
      answerSubscribe: on<"subscribe">((transfer, { until, payload }) => transfer.answerSubscribe(until, payload)),
      endReports: on((transfer) => transfer.endReports()),
      close: on((transfer) => transfer.close()),
    },
  });
  expectProvided(transferMachine, machine);
  return chartFrom(machine);
}
