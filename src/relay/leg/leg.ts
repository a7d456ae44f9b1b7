import type { Side } from "../../../machines/events.ts";
import type { SipRequest, SipResponse } from "../../sip/message.ts";
import type { TimerHandle } from "../../support/clock.ts";
import { shownUris } from "../../support/peer-log.ts";
import type { ClientTransaction, ClientTransactionUser, ServerTransaction } from "../../transaction/types.ts";
import type { Flow } from "../../transport/types.ts";
import { Answer } from "../dialog/answer.ts";
import { isKnown, refreshesTarget, type WayBack, wayBack } from "../dialog/contact.ts";
import { confirmDialog, type Dialog, refreshTarget, requestWithin, takeSeq, takeWay } from "../dialog/dialog.ts";
import { repeatsTo } from "../dialog/doubt.ts";
import { offeredPackages } from "../dialog/passing.ts";
import { reply } from "../dialog/reply.ts";
import { contained } from "../model/contained.ts";
import type { Core, Device, LegPort, SessionPort as Session } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";
import type { SessionTimerPort } from "../model/ports.ts";
import { route, sendWithin } from "./route.ts";

/** One half of a session: a dialog with the client or with the app server, and the way to speak in it. */
export class Leg implements LegPort {
  readonly side: Side;
  /** Changes when a part of the call gives way to the next (M20-M22). */
  session: Session;
  readonly dialog: Dialog;
  /** Info Packages that this peer offered to receive (RFC 6086 §5.2). */
  offered: readonly string[] = [];
  /** A 2xx of ours whose ACK is awaited: of the first INVITE, or of a re-INVITE. */
  answer: Answer | undefined;
  /** The answer that will go out as soon as what it promises is kept. */
  coming: Answer | undefined;
  /** True once both ends know the dialog: a 2xx was sent or received (RFC 3261 §12). */
  confirmed = false;
  /** Called instead of a BYE where the peer has not answered yet: the relay's INVITE to a client (M23). */
  unwanted: (() => void) | undefined;
  /** The connection on which the peer came is gone, and nothing has come from the peer since. */
  stranded = false;
  /** With what the client has registered whose connection is gone: its other flow leads there, too. */
  device: Device | undefined;
  /**
   * Set after a restart, until something comes from the peer: when the peer was last heard of, by the session's
   * timeline.
   */
  unheardSince: number | undefined;
  /** When the peer last showed that it is there, by the session's timeline; 0: not yet in this process. */
  heardAt = 0;
  /** Its session timer (RFC 4028); undefined: there never was one. */
  timer: SessionTimerPort | undefined;
  /** The session has come from another node, and the peer has not been told our Contact yet. */
  contactIsNew = false;
  /**
   * How often the peer has moved. A failure of what was sent to its old address says nothing about the peer any more.
   */
  moves = 0;
  /** The way by which the client was last heard of, where that is not its connection. */
  private elsewhere: WayBack | undefined;
  private returnTimer: TimerHandle;
  /** BYE was sent or came: nothing new passes in this dialog (RFC 3261 §15). */
  over = false;
  /** Its session is over. The leg may still wait for an ACK. */
  closed = false;
  /** The BYE that waits for that ACK. */
  private waiting: { send(): void } | undefined;
  /** Until when requests of the peer are counted together, and how many there were. */
  private secondEndsAt = 0;
  private takenInSecond = 0;
  private readonly core: Core;

  /** `listens`: messages of this dialog come to this leg. Not so for a stray dialog, which the relay only ends. */
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
    const request = requestWithin(this.dialog, method);
    // After a restart, `SEQ_JUMP` numbers are skipped. So the state on disk must not fall behind by that many.
    if (this.dialog.localSeq % (SEQ_JUMP / 2) === 0) this.core.kept?.changed(this.session);
    return request;
  }

  /**
   * Sends a request in a transaction of its own. Where the peer's name must be resolved first, the transaction comes
   * later.
   */
  send(request: SipRequest, user: ClientTransactionUser, started?: (transaction: ClientTransaction) => void): void {
    this.session.identity?.mark(request, this.side);
    sendWithin(this.core, this.dialog, request, user, started);
  }

  /** Adds the session's ids to the answer to a request of the peer. */
  responded(response: SipResponse): void {
    this.session.identity?.mark(response, this.side);
  }

  /** Sends the ACK of a 2xx; `seq` is the number of the INVITE (RFC 3261 §13.2.2.4). */
  sendAck(seq: number, fill?: (ack: SipRequest) => void): void {
    const ack = requestWithin(this.dialog, "ACK", seq);
    fill?.(ack);
    this.timer?.told(ack);
    this.session.identity?.mark(ack, this.side);
    route(
      this.core,
      this.dialog,
      (destination, flow) => {
        this.core.transactions.sendAck(ack, destination, flow);
      },
      () => undefined,
    );
  }

  /**
   * Sends a 2xx to the peer's INVITE, and repeats it until the ACK comes, even if the session ends meanwhile (RFC 3261
   * §13.3.1.4).
   */
  answerUntilAck(
    transaction: ServerTransaction,
    response: SipResponse,
    told: { acknowledged(ack: SipRequest): void; silent(): void },
  ): void {
    this.answer = this.answerOf(transaction, response, told);
    this.answer.start();
  }

  private answerOf(...[transaction, response, told]: Parameters<Leg["answerUntilAck"]>): Answer {
    const { config, clock, timers } = this.core;
    return new Answer({
      transaction,
      response,
      durations: config.timers,
      clock,
      timers,
      repeats: repeatsTo(transaction.flow, this.dialog),
      onAck: told.acknowledged,
      onSilence: () => {
        this.answer = undefined;
        told.silent();
        this.answered();
      },
    });
  }

  /** The same once `recorded` resolves. Where it rejects the client hears 500, and has no session. */
  answerAfter(recorded: Promise<void>, ...answer: Parameters<Leg["answerUntilAck"]>): void {
    const [transaction] = answer;
    const coming = this.answerOf(...answer);
    this.coming = coming;
    const refuse = (status: number) => {
      this.over = true;
      if (!transaction.answered) reply(transaction, status);
      this.answered();
    };
    const told = recorded.then(
      () => {
        if (this.coming !== coming) return; // the dialog goes on elsewhere
        this.coming = undefined;
        if (this.over) {
          refuse(487); // the client has hung up in its early dialog (RFC 3261 §15.1.2)
          return;
        }
        this.answer = coming;
        coming.start();
      },
      () => {
        if (this.coming !== coming) return;
        this.coming = undefined;
        refuse(500);
      },
    );
    void contained(this.core, told, { actor: this.session.actor, transaction });
  }

  /** The ACK of our 2xx. */
  acknowledged(ack: SipRequest): void {
    const { answer } = this;
    if (!answer) return;
    this.answer = undefined;
    answer.acknowledged(ack);
    this.answered();
  }

  /**
   * Sends the BYE as soon as no ACK is awaited for the 2xx that made the dialog: now, with the ACK, or after 64*T1 (RFC
   * 3261 §15). The peer may have hung up itself by then.
   */
  whenAcknowledged(bye: { send(): void }): void {
    if ((this.answer?.opens || this.coming) && !this.over) this.waiting = bye;
    else bye.send();
  }

  /** The peer's BYE came: a BYE of ours that waited for the ACK goes on now. */
  hungUp(): void {
    this.over = true;
    this.proceed();
  }

  /** The peer's first 2xx: from now on the dialog is confirmed (RFC 3261 §12.1.2). */
  confirm(response: SipResponse): void {
    this.confirmed = true;
    this.isThere();
    // The answer is from another end than that of the early dialog, and its CSeq numbers are independent.
    if (this.dialog.remoteTag !== "" && this.dialog.remoteTag !== response.toTag) this.dialog.remoteSeq = -1;
    if (!confirmDialog(this.dialog, response)) this.noContact(response);
    this.offered = offeredPackages(response.headers);
  }

  /** Whether proxies that the peer named lead to it. */
  get routed(): boolean {
    return this.dialog.routes.length > 0;
  }

  /** The peer's answer to a re-INVITE or UPDATE of ours: its Contact counts from now on (RFC 3261 §12.2.1.2). */
  refresh(response: SipResponse): void {
    refreshTarget(this.dialog, response);
    this.core.kept?.changed(this.session);
  }

  /**
   * A request of the peer in this dialog was accepted: where it came from is where the peer is now. This holds for a
   * target refresh (RFC 3261 §12.2.2, RFC 5626 §5.3). From a client behind a NAT it holds for every request, since only
   * the way through its NAT leads to it. A refused request moves nothing.
   */
  moveTo({ request, flow }: Pick<ServerTransaction, "request" | "flow">): void {
    const refreshes = refreshesTarget(request.method);
    if (refreshes) {
      refreshTarget(this.dialog, request);
      this.core.kept?.changed(this.session);
    }
    // An app server is where its Contact says: it listens there.
    if (this.side === "client" && (refreshes || this.dialog.behind !== undefined))
      this.follow(wayBack(request, flow, this.routed));
  }

  /**
   * A request of this dialog came. If the client's connection is gone, it says where the client is now, whatever
   * becomes of the request. It may even come before the relay notices that the connection is gone.
   */
  heard({ request, flow }: Pick<ServerTransaction, "request" | "flow">): void {
    this.isThere();
    this.session.identity?.heard(request, this.side);
    this.dialog.doubt?.heard(request, flow);
    if (this.side !== "client" || flow === this.dialog.flow) return;
    if (this.stranded) this.follow(wayBack(request, flow, this.routed));
    else if (this.dialog.flow) this.elsewhere = wayBack(request, flow, this.routed);
  }

  /** The peer has shown that it is there, or counts as there. */
  isThere(): void {
    this.heardAt = this.session.now();
    if (this.unheardSince === undefined) return;
    this.unheardSince = undefined;
    this.core.kept?.changed(this.session);
  }

  /** The peer knows our Contact, or cannot be told. */
  contactTold(): void {
    this.contactIsNew = false;
  }

  /** The peer's connection is gone. */
  strand(): void {
    const { elsewhere, core, dialog } = this;
    const wasAtOther = dialog.flow?.contact !== undefined;
    this.stranded = true;
    dialog.flow = undefined;
    if (elsewhere && isKnown(elsewhere) && elsewhere.cameBy.open) this.follow(elsewhere);
    else core.otherFlows.look(this);
    if (this.stranded && wasAtOther) core.flowsElsewhere?.look(this);
  }

  goBy(flow: Flow): boolean {
    if (this.closed || this.side !== "client") return false;
    this.follow({ flow, behind: undefined, cameBy: flow });
    return this.dialog.flow === flow;
  }

  /**
   * The peer's Contact leads nowhere. Unless the peer comes back by another connection within that time, `gone` is
   * called, once.
   */
  awaitReturn(forMs: number, gone: () => void): void {
    this.returnTimer ??= this.core.clock.setTimeout(gone, forMs);
  }

  /** The peer is there after all. */
  returned(): void {
    this.stranded = false;
    if (this.device) this.core.otherFlows.forget(this);
    this.core.flowsElsewhere?.forget(this);
    this.device = undefined;
    this.core.clock.clearTimeout(this.returnTimer);
    this.returnTimer = undefined;
  }

  private follow(way: WayBack): void {
    const { dialog, core } = this;
    // Somebody who knows the tags may forge any source address. A client is never at an app server's address.
    if (way.behind && core.reach.isAppServer(way.behind)) return;
    const before = dialog.flow;
    if (!takeWay(dialog, way, core) && !this.stranded) return;
    this.moves++;
    this.core.kept?.changed(this.session);
    this.elsewhere = undefined;
    this.returned();
    if (before === dialog.flow) return;
    if (before) this.leaveFlow(before);
    if (dialog.flow && !this.closed) this.joinFlow(dialog.flow);
  }

  /** Takes the CSeq number of a peer's request; false: it is an old one. */
  takeSeq(request: SipRequest): boolean {
    return takeSeq(this.dialog, request);
  }

  /**
   * Counts a request of the peer; false where there are more than `perSecond` in this second. `now` is monotonic;
   * `perSecond` 0: no bound.
   */
  takesMore(now: number, perSecond: number): boolean {
    if (perSecond === 0) return true;
    if (now >= this.secondEndsAt) {
      this.secondEndsAt = now + 1_000;
      this.takenInSecond = 0;
    }
    return ++this.takenInSecond <= perSecond;
  }

  /**
   * A 2xx needs a Contact (RFC 3261 §12.1.1). Without one, ACK and BYE go where the INVITE went, so that nobody is left
   * in a session.
   */
  private noContact({ headers }: SipResponse): void {
    const { appServer, facts } = this.session;
    const source = this.side === "client" ? facts.user : appServer.id;
    const contact = shownUris(headers.get("contact") ?? "");
    const more = { ...ofSession(this.session), appServer: appServer.id, side: this.side, contact };
    this.core.peerLog.warn("an answer has no Contact that can be used", source, more);
  }

  close(): void {
    this.closed = true;
    // Not forgotten while a client's INVITE waits for its answer, or that answer for its ACK. The relay's INVITE to a
    // client (M23) does not wait.
    if (!(this.answer || this.coming) || !this.confirmed) this.forget();
    this.core.clock.clearTimeout(this.returnTimer);
    if (this.device) this.core.otherFlows.forget(this);
    this.core.flowsElsewhere?.forget(this);
    if (this.dialog.flow) this.leaveFlow(this.dialog.flow);
  }

  /** Forgets the dialog and sends nothing: the dialog goes on elsewhere. */
  release(): void {
    this.dialog.released = true;
    this.answer?.stop();
    this.answer = this.coming = undefined;
    this.close();
    this.forget();
  }

  private answered(): void {
    if (this.closed) this.forget();
    this.proceed();
  }

  private proceed(): void {
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.send();
  }

  private forget(): void {
    this.answer?.stop();
    this.core.legs.delete(this.dialog.localTag);
  }

  private joinFlow(flow: Flow): void {
    const legs = this.core.legsByFlow.get(flow);
    if (legs) legs.add(this);
    else this.core.legsByFlow.set(flow, new Set([this]));
  }

  private leaveFlow(flow: Flow): void {
    const legs = this.core.legsByFlow.get(flow);
    if (legs?.delete(this) && legs.size === 0) this.core.legsByFlow.delete(flow);
  }
}

/**
 * How many CSeq numbers are skipped when a dialog goes on after a restart: it is not known how many requests were sent
 * since the dialog was written to disk (RFC 3261 §12.2.2 allows gaps).
 */
export const SEQ_JUMP = 1_000;
