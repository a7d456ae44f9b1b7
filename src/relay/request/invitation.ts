import { SESSION_HEADER } from "../../charging/charges/header-names.ts";
import type { AppServer } from "../../directory/types.ts";
import { parseMaxForwards, withTag } from "../../sip/headers.ts";
import type { SipRequest, SipResponse } from "../../sip/message.ts";
import { formatUri, parseUri, type SipUri, sipUriOf, type Uri, unescapeUser } from "../../sip/uri.ts";
import { sameHost } from "../../support/address.ts";
import type { Timer, TimerOwner } from "../../support/timer-queues.ts";
import type { ClientTransaction, ClientTransactionUser } from "../../transaction/types.ts";
import { type Destination, provenAs } from "../../transport/types.ts";
import { confirmDialog, type Dialog } from "../dialog/dialog.ts";
import {
  ALLOW,
  passForeignCredentials,
  passReliability,
  recvInfoWithCharges,
  withoutPassword,
} from "../dialog/passing.ts";
import { contactUri, isSips, SIPS_NOT_ALLOWED, sipsOf } from "../dialog/sips.ts";
import { Leg } from "../leg/leg.ts";
import { takeRest } from "../leg/rest.ts";
import { askForTimer, takeMinimum, takeTimer } from "../leg/session-timer.ts";
import { whySilent } from "../leg/silence.ts";
import { acknowledgeUnwanted } from "../leg/unwanted.ts";
import { withdrawalsOf } from "../leg/withdrawals.ts";
import { hearing } from "../media/gate.ts";
import { failureFor, withMedia } from "../media/media.ts";
import type { Core, SessionPort as Session } from "../model/core.ts";
import { ofSession } from "../model/log-facts.ts";
import type { Asking, Withdrawn, WithoutMedia } from "../model/ports.ts";
import { callIdOf } from "../model/session-names.ts";
import { isOneTooMany, ringS } from "../session/ringing.ts";
import { Reliable } from "./reliable.ts";
import { addServiceHeaders } from "./service-headers.ts";
import { sign } from "./signing.ts";

/**
 * The INVITE to one app server (M5). Turns the answers of its transaction into events of the session. It outlives the
 * ACK, since a repeated 2xx must be acknowledged again (RFC 3261 §13.2.2.4).
 */
export class Invitation implements ClientTransactionUser, Asking, TimerOwner<"silent" | "ringing"> {
  /** CSeq number of the INVITE that was sent last. */
  seq: number;
  /** The answer with which the app server refused; the client's answer is made of it. */
  refusal: SipResponse | undefined;
  private readonly core: Core;
  private readonly session: Session;
  private readonly leg: Leg;
  private transaction: ClientTransaction | undefined;
  private timer: Timer | undefined;
  private ringing = false;
  /** How many provisional answers came, not counting 100. */
  private provisionals = 0;
  /** The first provisional answer with a To tag. */
  private early: SipResponse | undefined;
  /** Further addresses of the app server, and what makes the INVITE for one. */
  private others: readonly Destination[] = [];
  private makeFor: ((destination: Destination) => SipRequest) | undefined;
  /** Where it was sent, and how often because its session interval was too small. */
  private destination: Destination | undefined;
  private tries = 1;
  private cancelled = false;
  /** The ACK that answers a repeated 2xx; null: acknowledged with an empty one. */
  private acknowledged: SipRequest | null | undefined;

  constructor(core: Core, session: Session, leg: Leg, seq: number) {
    this.core = core;
    this.session = session;
    this.leg = leg;
    this.seq = seq;
    this.timer = core.timers.start(this, "silent", core.config.session.silentS * 1000);
  }

  /**
   * Sends the INVITE to the first of the destinations. Where nothing is heard from there, and where the answer is 503,
   * it goes to the next one (RFC 3263 §4.3).
   */
  sendTo([first, ...others]: readonly Destination[], makeFor: (destination: Destination) => SipRequest): void {
    if (!first) return;
    this.others = others.slice(0, MAX_OTHERS);
    this.makeFor = makeFor;
    this.send(makeFor(first), first);
  }

  /**
   * The next address is asked, in a transaction of its own. False: there is none, or the app server is at work already.
   */
  private goesOn(why: string, refused = false): boolean {
    const [next, ...others] = this.others;
    const isAtWork = this.provisionals > 0 || (this.ringing && !refused);
    if (!next || !this.makeFor || this.cancelled || isAtWork) return false;
    this.others = others;
    const { appServer } = this.session;
    const facts = { ...ofSession(this.session), appServer: appServer.id, why, address: next.address, port: next.port };
    this.core.peerLog.info("an app server's next address is asked", appServer.id, facts);
    this.transaction?.abandon();
    this.stop();
    this.ringing = false;
    this.timer = this.core.timers.start(this, "silent", this.core.config.session.silentS * 1000);
    this.send(this.makeFor(next), next);
    return true;
  }

  /** The app server wants a longer session interval: it is asked again, if nothing has come of this INVITE but that. */
  private asksForLonger(response: SipResponse): boolean {
    const { session, leg, makeFor, destination } = this;
    const mayAsk = makeFor && destination && !this.cancelled && !session.reliable && leg.dialog.remoteTag === "";
    if (!mayAsk || !takeMinimum(leg, response, this.tries)) return false;
    this.tries++;
    this.seq++; // RFC 4028 §7.3: the same dialog's next INVITE
    this.transaction?.abandon();
    this.ringing = false;
    this.early = undefined;
    this.timer = this.core.timers.start(this, "silent", this.core.config.session.silentS * 1000);
    this.send(makeFor(destination), destination);
    return true;
  }

  send(request: SipRequest, destination: Destination): void {
    this.destination = destination;
    this.transaction = this.core.transactions.send(
      request,
      destination,
      hearing(this.session, "server", request, this),
    );
  }

  /** RFC 3261 §9.1: sends CANCEL at once, or as soon as a provisional answer has come. */
  cancel(reason?: string): void {
    this.cancelled = true;
    this.transaction?.cancel(reason === undefined ? undefined : [["Reason", reason]]);
  }

  withdrawals(): Withdrawn[] {
    return withdrawalsOf(this.transaction, this.leg);
  }

  get hasEarlyDialog(): boolean {
    return this.early !== undefined;
  }

  /**
   * Called when a request is to go to the app server before its 2xx. The dialog is that of its first provisional answer
   * (RFC 3261 §12.1.2).
   */
  openEarlyDialog(): void {
    const { dialog } = this.leg;
    if (this.early && dialog.remoteTag === "") confirmDialog(dialog, this.early);
  }

  /** Acknowledges the 2xx: with the client's ACK, or with one of the relay's own. */
  ack(from: SipRequest | undefined): void {
    // Kept for repeated answers only if it has a body.
    this.acknowledged = from && from.body.length > 0 ? from : null;
    this.leg.sendAck(this.seq, from && ((ack) => this.core.border.pass(from, ack, "server")));
  }

  stop(): void {
    this.core.timers.stop(this.timer);
    this.timer = undefined;
  }

  timerFired(name: "silent" | "ringing"): void {
    const { session, core } = this;
    if (name === "silent" && this.goesOn("it is silent")) return;
    if (name === "silent") this.sayGivenUp(whySilent(core, this.transaction?.flow, core.config.session.silentS * 1000));
    else if (this.early) this.sayGivenUp(`it rang for ${ringS(session)} s and nobody answered`);
    else this.sayGivenUp(`it said 100 and nothing more within ${ringS(session)} s`);
    session.actor.send({ type: "server.silent", failure: { status: 408 } });
  }

  /**
   * The session is over. The transaction goes on alone with what the protocol still asks of it, and each 2xx that still
   * comes is acknowledged.
   */
  close(): void {
    this.stop();
    this.transaction?.abandon(this.leg.confirmed ? this.leg.dialog.remoteTag : undefined);
  }

  provisional(response: SipResponse): void {
    if (!this.ringing) {
      this.ringing = true;
      this.stop();
      this.timer = this.core.timers.start(this, "ringing", ringS(this.session) * 1000);
    }
    if (response.status === 100) {
      if (this.session.request?.transaction.told) this.core.kept?.rings?.(this.session); // now there is a CANCEL for it
      return;
    }
    if (isOneTooMany(this.session, "server", ++this.provisionals)) return;
    if (response.headers.has("rseq") && !this.takeReliable(response)) return;
    this.early ??= response;
    this.session.actor.send({ type: "server.progress", payload: response });
  }

  final(response: SipResponse): void {
    const { session } = this;
    this.stop();
    if (response.status >= 300) {
      if (response.status === 503 && this.goesOn("it answered 503", true)) return;
      if (response.status === 422 && this.core.config.session.timer !== "off") {
        if (this.asksForLonger(response)) return;
        // The interval was the relay's, and the client cannot mend it.
        session.branch?.because("it wants another session interval (RFC 4028), and the relay could not agree with it");
        this.failed(500);
        return;
      }
      this.refusal = response;
      takeRest(this.core, this.session.appServer, response);
      this.session.actor.send({
        type: "server.failure",
        failure: { status: response.status, branch: this.session.appServer.id },
      });
      return;
    }
    if (this.session.reliable?.holds(response)) return;
    const { dialog } = this.leg;
    if (this.leg.confirmed) {
      if (response.toTag === dialog.remoteTag) {
        if (this.acknowledged !== undefined) this.ackAgain();
      } else {
        // The app server's side has forked the INVITE, and a second end has answered. A session has only one.
        acknowledgeUnwanted(this.core, response, this.transaction!.flow, true);
      }
      return;
    }
    this.leg.confirm(response);
    takeTimer(this.leg, response, session.request?.transaction.request);
    this.early = undefined;
    this.session.answered(response);
  }

  /** It has accepted, but what it has said of media is of no use to the client: its session is ended. */
  withoutMedia(response: SipResponse, { why, status }: WithoutMedia): void {
    if (this.leg.confirmed) return; // a 2xx that came again
    this.stop();
    this.session.branch?.because(`media: ${why}`);
    acknowledgeUnwanted(this.core, response, this.transaction!.flow, true);
    this.session.actor.send({ type: "server.failure", failure: failureFor(status) });
  }

  timeout(): void {
    if (this.goesOn("it is silent")) return;
    this.stop();
    this.sayGivenUp(whySilent(this.core, this.transaction?.flow, 64 * this.core.config.timers.t1Ms));
    this.failed(408);
  }

  transportError(reason: string): void {
    if (this.goesOn(reason)) return;
    this.stop();
    this.sayGivenUp(`it was not reached: ${reason}`);
    this.failed(503); // RFC 3261 §8.1.3.1
  }

  private sayGivenUp(why: string): void {
    const { appServer, branch } = this.session;
    branch?.because(why);
    const facts = { ...ofSession(this.session), appServer: appServer.id, why };
    this.core.peerLog.warn("app server given up", appServer.id, facts);
  }

  /** Takes a reliable provisional answer. False: it is to be ignored. */
  private takeReliable(response: SipResponse): boolean {
    const { session } = this;
    const transaction = session.request?.transaction;
    if (!session.reliable && transaction) session.answersReliably(new Reliable(session, this, this.leg, transaction));
    return session.reliable?.take(response) ?? true;
  }

  private failed(status: number): void {
    this.session.actor.send({ type: "server.failure", failure: { status } });
  }

  private ackAgain(): void {
    const { acknowledged } = this;
    this.leg.sendAck(this.seq, acknowledged ? (ack) => this.core.border.pass(acknowledged, ack, "server") : undefined);
  }
}

/**
 * Builds the INVITE to a session's app server from the client's INVITE, and sends it. Calls `sent` with the invitation
 * just before.
 */
export function invite(core: Core, session: Session, sent: (invitation: Asking) => void): void {
  const waiting = new NotAskedYet(session);
  find(core, session, waiting, (invitation) => {
    waiting.over = true;
    sent(invitation);
  });
  // A name is resolved, or a media relay asked.
  if (!waiting.over && !session.closed) sent(waiting);
}

/** Stands for an INVITE that will be sent. A CANCEL ends it at once: nobody has heard of it. */
class NotAskedYet implements Asking {
  over = false;
  readonly seq = 0;
  readonly refusal = undefined;
  readonly hasEarlyDialog = false;
  private readonly session: Session;

  constructor(session: Session) {
    this.session = session;
  }

  cancel(): void {
    this.close();
    this.session.actor.send({ type: "server.failure", failure: { status: 487 } });
  }

  close(): void {
    this.over = true;
  }

  withdrawals(): [] {
    return [];
  }

  ack(): void {}
  openEarlyDialog(): void {}
}

function find(core: Core, session: Session, waiting: NotAskedYet, sent: (invitation: Invitation) => void): void {
  const unreachable = (why: string) => {
    waiting.over = true;
    session.branch?.because(why);
    session.actor.send({ type: "server.failure", failure: { status: 503 } });
  };
  const registered = targetOf(session.appServer);
  if (!registered || registered.scheme === "other") {
    unreachable("its URI leads nowhere");
    return;
  }
  const uri = isSips(session.asked) ? sipsOf(registered) : registered;
  if (!uri) {
    session.branch?.because("a sips URI is asked for, and its URI is not secure");
    session.actor.send({ type: "server.failure", failure: SIPS_NOT_ALLOWED });
    return;
  }
  const target = uri === registered ? session.appServer.uri : formatUri(uri);
  core.resolve(uri, (found) => {
    const { certificate } = session.appServer;
    const destinations = certificate === undefined ? found : found.map((one) => provenAs(one, certificate));
    if (waiting.over) return;
    const destination = destinations[0];
    const asked = session.request?.transaction.request;
    if (!destination || !asked) {
      unreachable("no address was found for its URI");
      return;
    }
    if (!core.media) inviteAt(core, session, destinations, asked, target, sent);
    else
      withMedia(session, "client", asked, (original) => {
        if (!waiting.over) inviteAt(core, session, destinations, original, target, sent);
      });
  });
}

function inviteAt(
  core: Core,
  session: Session,
  destinations: readonly Destination[],
  original: SipRequest,
  target: string,
  sent: (invitation: Invitation) => void,
): void {
  const destination = destinations[0]!;
  const leg = new Leg(core, session, "server", dialogTowards(core, session, original, destination, target));
  session.take(leg);
  const { dialog } = leg;
  const invitation = new Invitation(core, session, leg, dialog.localSeq + 1);
  const makeFor = (where: Destination): SipRequest => {
    if (where !== destination) {
      dialog.destination = where;
      dialog.peerName = where.name;
      dialog.contact = contactUri(core.transport.contactTowards(where), isSips(target));
    }
    // If its Contact is that name, the other addresses serve the dialog as well.
    dialog.others = destinations.length > 1 ? destinations.filter((one) => one !== where) : undefined;
    dialog.localSeq = invitation.seq - 1;
    const request = leg.request("INVITE"); // also for a client that asks for another service by UPDATE
    fillInvite(core, session, original, request);
    return request;
  };
  sent(invitation);
  invitation.sendTo(destinations, makeFor);
}

/** How many addresses of an app server are asked after the first. */
const MAX_OTHERS = 3;

const targets = new WeakMap<AppServer, Uri | undefined>();

/** An app server's URI, read once. */
function targetOf(server: AppServer): Uri | undefined {
  let target = targets.get(server);
  if (target === undefined) {
    const uri = parseUri(server.uri);
    target = uri.ok ? uri.value : undefined;
    targets.set(server, target);
  }
  return target;
}

/** `target`: the Request-URI. */
function dialogTowards(
  core: Core,
  session: Session,
  original: SipRequest,
  destination: Destination,
  target: string,
): Dialog {
  const localTag = core.random.token(64);
  return {
    callId: callIdOf(session.id),
    localTag,
    remoteTag: "",
    // From has the client's own URI, and To the service that it asked for. The dialog is the relay's.
    local: withTag(withoutPassword(original.headers.get("from") ?? ""), localTag),
    remote: toFor(core, session, original),
    remoteTarget: target,
    routes: [],
    localSeq: 0,
    remoteSeq: -1,
    contact: contactUri(core.transport.contactTowards(destination), isSips(target)),
    behind: undefined,
    flow: undefined,
    destination,
    peerName: destination.name,
  };
}

function fillInvite(core: Core, session: Session, original: SipRequest, request: SipRequest): void {
  core.border.pass(original, request, "server");
  passReliability(original, request);
  passForeignCredentials(original, request, core.config.portal);
  const { headers } = request;
  headers.set("Max-Forwards", String(Math.max(0, (maxForwards(original) ?? 70) - 1)));
  if (!headers.has("allow")) headers.add("Allow", ALLOW);
  if (session.server) askForTimer(session.server, request);
  headers.add("Recv-Info", recvInfoWithCharges(original.headers));
  headers.add(SESSION_HEADER, session.id);
  addServiceHeaders(headers, session.identified);
  // In an INVITE made of a REFER, the relay itself has written Referred-By. A client's own would be a mere claim (RFC
  // 3892 §2.2).
  const referredBy = session.request?.move?.clientLeg && original.headers.get("referred-by");
  if (referredBy) headers.add("Referred-By", referredBy);
  const user = core.border.uriOf(session.user);
  headers.add("P-Asserted-Identity", `<${user}>`); // RFC 3325 §5: the identity that the relay has verified.
  session.identity?.mark(request, "server");
  const callId = original.callId || session.request?.move?.first.client?.dialog.callId;
  if (core.config.correlation.xCallId && callId && !headers.has("x-call-id")) headers.add("X-Call-ID", callId);
  sign(core, session, original, request);
}

/**
 * To of the dialog with the app server. It is the client's To where this names what the rules have looked at. Else an
 * app server that goes by To might serve another service than the one that is charged.
 */
function toFor({ directory, border }: Core, { asked, service }: Session, { headers, to, toTag }: SipRequest): string {
  const written = headers.get("to") ?? "";
  const line = toTag === undefined ? written : withTag(written, undefined); // a change of service comes within a dialog
  if (line === `<${asked}>` && asked.startsWith(`sip:${service.id}@`)) return line; // nearly always so
  const names = (uri: SipUri | undefined): boolean => {
    const user = uri && unescapeUser(uri);
    return uri !== undefined && (user === undefined || user === service.id || directory.service(user) === undefined);
  };
  const wanted = sipUriOf(asked);
  const own = to && sipUriOf(to.uri);
  const isPortal = (uri: SipUri) => directory.isPortal(uri.host);
  const same =
    own !== undefined &&
    wanted !== undefined &&
    unescapeUser(own) === unescapeUser(wanted) &&
    (sameHost(own.host, wanted.host) || (isPortal(own) && isPortal(wanted)));
  if (same && names(own)) return withoutPassword(line);
  return names(wanted) ? withoutPassword(`<${asked}>`) : `<${border.uriOf(service.id)}>`;
}

export function maxForwards(request: SipRequest): number | undefined {
  const value = request.headers.get("max-forwards");
  return value === undefined ? undefined : parseMaxForwards(value);
}
