import type { Side } from "../../machines/events.ts";
import { STOPS } from "../calls/open-record.ts";
import type { CallKind } from "../calls/record.ts";
import { bringsCharges, CHARGE_JSON, CHARGE_XML, PACKAGE } from "../charging/charges/body.ts";
import { type SipMessage, type SipRequest, SipResponse } from "../sip/message.ts";
import { reasonPhrase, responseTo } from "../sip/response.ts";
import { serialize } from "../sip/serialize.ts";
import type { NewRequest, ServerTransaction, TransactionUser } from "../transaction/types.ts";
import { isPeersDoing } from "../transport/connection.ts";
import type { Flow } from "../transport/types.ts";
import { wantedService } from "./change/service-change.ts";
import { isForCharges, takeMessage } from "./charges/late-charges.ts";
import { refreshesTarget } from "./dialog/contact.ts";
import { REPEATS_OF_ONE, repeatsTo } from "./dialog/doubt.ts";
import { ALLOW, METHODS, OWN_OPTIONS } from "./dialog/passing.ts";
import { reply } from "./dialog/reply.ts";
import { deviceAt } from "./leg/device.ts";
import { tooShort } from "./leg/session-timer.ts";
import { challenge, trimmed, verdictOn } from "./leg/sign-in.ts";
import { takesContact } from "./leg/takes-contact.ts";
import { acknowledgeUnwanted } from "./leg/unwanted.ts";
import { afterMedia, afterMediaOfAck } from "./media/media.ts";
import type { Core, LegPort as Leg } from "./model/core.ts";
import { ofSession } from "./model/log-facts.ts";
import { refusalOfNew } from "./model/new-sessions.ts";
import { recordOf } from "./model/records.ts";
import { REGISTRAR_OPTIONS, takeRegister } from "./registrar/register.ts";
import { maxForwards } from "./request/invitation.ts";
import { ClientRequest } from "./request/request.ts";
import { isCallToClient, takeCall } from "./request/take-call.ts";
import { takeReferInside, takeReferOutside, takeSubscribe } from "./transfer/refer-requests.ts";

/** Methods of RFCs that the relay knows, and does not serve: 405. Any other is 501 (RFC 3261 §8.2.1, §21.5.2). */
const KNOWN = new Set<string>([...METHODS, "REGISTER", "PUBLISH"]);
const SERVED = new Set<string>(METHODS);

/**
 * The one switch: every new request enters the relay here, and is checked in the order of RFC 3261 §8.2. An INVITE
 * becomes a client request with an actor of its own. A request with the tag of a session goes to that session.
 */
export class Router implements TransactionUser {
  private readonly core: Core;

  constructor(core: Core) {
    this.core = core;
  }

  admits(request: SipRequest, flow: Flow): boolean {
    return this.core.admission.take(this.core.sources.of(request, flow));
  }

  ignores(request: SipRequest, flow: Flow): boolean {
    const { strangers, sources, admission, authenticator } = this.core;
    if (!strangers.mayIgnore(request)) return false;
    const source = sources.of(request, flow);
    const isKnown = () =>
      request.method === "MESSAGE" || // app servers have passwords of their own
      (source.byProxy === true && source.remoteAddress === flow.remoteAddress) ||
      (authenticator.knowsThere?.(request, source) ?? true);
    if (!strangers.ignores(request, source, admission.reaches(source), isKnown)) return false;
    if (!source.byProxy) flow.cut?.("strangers are not answered");
    return true;
  }

  reaches(request: SipRequest, flow: Flow): boolean {
    return this.core.admission.reaches(this.core.sources.of(request, flow));
  }

  refused(request: SipRequest, flow: Flow, response: SipResponse | undefined, why: string): void {
    const { method, toTag } = request;
    if (kindOf(method, toTag) === undefined) return;
    const { core } = this;
    core.calls.refused(request, core.sources.of(request, flow), response?.status ?? 0, response?.reason ?? "", why);
  }

  /** The 401 for an INVITE that lacks credentials, and has no other fault (M2). */
  challenge(request: SipRequest, flow: Flow): SipResponse | undefined {
    const source = this.core.sources.of(request, flow);
    const { authenticator, appServerAuthenticator } = this.core;
    const signsIn = isCallToClient(this.core, request) ? appServerAuthenticator : authenticator;
    const challenges = refusalOfNew(this.core, "session") ? undefined : signsIn.challengesFor(request, source);
    if (!challenges || refusalByHeaders(this.core, request, flow)) return undefined;
    const response = new SipResponse(401, reasonPhrase(401));
    const offered = this.core.admission.reaches(source) ? challenges : trimmed(challenges, request);
    for (const challenge of offered) response.headers.add("WWW-Authenticate", challenge);
    this.core.calls.wasChallenged(request, source);
    return response;
  }

  /**
   * Before anybody has signed in, requests are answered without a transaction (RFC 3261 §8.2.7). A transaction is made
   * only for a request that belongs to a session, or whose sender has signed in.
   */
  request(transaction: NewRequest): void {
    const { request } = transaction;
    const tag = request.toTag;
    const kind = kindOf(request.method, tag);
    if (kind) {
      const { calls, sources } = this.core;
      if (kind === "invite") calls.cameAgain(request.callId);
      transaction.witness = calls.begin(kind, request, sources.of(request, transaction.flow));
    }
    if (tag !== undefined) {
      this.inSession(transaction, tag);
      return;
    }
    const registers = request.method === "REGISTER";
    if (!registers && !SERVED.has(request.method)) {
      if (KNOWN.has(request.method)) reply(transaction, 405, [["Allow", ALLOW]]);
      else reply(transaction, 501, [["Allow", ALLOW]]);
      return;
    }
    const refusal = refusalByHeaders(this.core, request, transaction.flow);
    if (refusal) {
      reply(transaction, refusal.status, refusal.headers, refusal.reason);
      return;
    }
    switch (request.method) {
      case "INVITE":
        this.invite(transaction);
        return;
      case "OPTIONS":
        this.options(transaction);
        return;
      case "REGISTER":
        takeRegister(this.core, transaction);
        return;
      case "MESSAGE":
        // RFC 3428: outside of a session, a MESSAGE may bring an app server's charges (M15), and nothing else (RFC 3261
        // §21.4.6).
        if (isForCharges(this.core, request)) takeMessage(this.core, transaction);
        else reply(transaction, 405, [["Allow", METHODS.filter((method) => method !== "MESSAGE").join(", ")]]);
        return;
      case "REFER":
        takeReferOutside(this.core, transaction);
        return;
      case "SUBSCRIBE":
        takeSubscribe(undefined, transaction);
        return;
      default:
        reply(transaction, 481); // Other methods mean something only inside a session.
    }
  }

  /** An ACK for a 2xx of ours: it belongs to the answer that waits for it. */
  ack(ack: SipRequest, flow: Flow): void {
    const leg = this.legOf(ack, ack.toTag);
    if (!leg) {
      this.core.others?.message(ack, flow);
      return;
    }
    if (!leg.answer || leg.answer.seq !== ack.cseq?.number) return;
    leg.heard({ request: ack, flow });
    afterMediaOfAck(leg, ack, () => leg.acknowledged(ack));
  }

  unwanted(response: SipResponse, flow: Flow, isNew: boolean): void {
    acknowledgeUnwanted(this.core, response, flow, isNew);
  }

  /**
   * A repeated 2xx whose INVITE was sent by an earlier process. Either its ACK was lost and is sent again, or it still
   * waits for the client's ACK (RFC 3261 §13.2.2.4). A 2xx of an unknown dialog is ignored.
   */
  stray(response: SipResponse, flow: Flow): void {
    const { fromTag, toTag, callId, cseq } = response;
    const leg = fromTag === undefined ? undefined : this.core.legs.get(fromTag);
    if (!leg) this.core.others?.message(response, flow);
    if (!leg?.confirmed || leg.closed || leg.dialog.callId !== callId || leg.dialog.remoteTag !== toTag) return;
    if (leg.session.actor.getSnapshot().value !== "answered") leg.sendAck(cseq!.number);
  }

  cancelOfNone(cancel: SipRequest, flow: Flow, nobody: () => void): boolean {
    return this.core.others?.request(cancel, flow, nobody) ?? false;
  }

  foreign(response: SipResponse, flow: Flow): void {
    this.core.others?.response(response, flow);
  }

  /** Whether a message that came to another node belongs to something here. */
  knows(message: SipMessage): boolean {
    const { core } = this;
    if (core.transactions.knows?.(message)) return true;
    if (!message.isRequest) {
      const { cseq, status, fromTag = "" } = message;
      return cseq?.method === "INVITE" && status >= 200 && status < 300 && core.legs.has(fromTag);
    }
    const tag = message.toTag;
    if (tag === undefined) return false;
    return this.legOf(message, tag)?.closed === false || core.transfersByTag.has(tag) || core.ended.knows(message);
  }

  /** A connection is gone: each peer that came by it is asked whether it is still there. */
  flowFailed(flow: Flow, reason: string): void {
    const { bindings, legsByFlow } = this.core;
    const legs = legsByFlow.get(flow);
    for (const leg of legs ?? []) leg.device = deviceAt(this.core, leg);
    bindings.flowFailed(flow);
    if (!legs) return;
    legsByFlow.delete(flow);
    for (const leg of legs) {
      if (isPeersDoing(reason)) leg.isThere(); // until now: the user pays until then, should it not come back
      leg.strand();
      if (leg.dialog.remoteTag !== "") leg.session.probe(leg);
    }
  }

  private invite(transaction: NewRequest): void {
    const { core } = this;
    const busy = refusalOfNew(core, "session");
    if (busy) {
      recordOf(transaction)?.because(core.draining ? STOPS : "no further session may begin now");
      reply(transaction, busy.status, busy.headers);
      return;
    }
    if (isCallToClient(core, transaction.request)) {
      takeCall(core, transaction);
      return;
    }
    const verdict = verdictOn(core, core.authenticator, transaction);
    if (verdict.verdict === "challenge") {
      // The nonce is too old, or the credentials are for another realm. INVITEs without credentials got their answer by
      // `challenge`.
      challenge(core, transaction, verdict.challenges);
      return;
    }
    if (verdict.verdict === "accepted" || verdict.verdict === "asking") {
      const isSure =
        verdict.verdict === "asking" || verdict.byFrom !== true || this.reaches(transaction.request, transaction.flow);
      transaction.begin(isSure ? undefined : REPEATS_OF_ONE);
      if (!takesContact(core, transaction)) return;
    }
    new ClientRequest(core, transaction, verdict).start();
  }

  private options(transaction: ServerTransaction): void {
    if (withCharges(transaction.request)) {
      refuseCharges(transaction);
      return;
    }
    reply(transaction, 200, [
      ["Allow", `${ALLOW}, REGISTER`],
      ["Accept", "*/*"],
      ["Supported", ["timer", "100rel", ...OWN_OPTIONS, ...REGISTRAR_OPTIONS].join(", ")],
    ]);
  }

  private inSession(transaction: NewRequest, tag: string): void {
    const { request } = transaction;
    const leg = this.legOf(request, tag);
    if (!leg || leg.closed) {
      this.ofNoSession(transaction, tag);
      return;
    }
    const record = recordOf(transaction);
    if (record) {
      record.isWithin(leg.session, leg.side);
      record.also = leg;
    } else transaction.witness = leg;
    if (!this.takesMore(leg, request)) {
      recordOf(transaction)?.because("too many requests in this session");
      reply(transaction, 500, [["Retry-After", "1"]], "Too many requests in this session");
      return;
    }
    const { flow } = transaction;
    transaction.begin(request.method === "INVITE" ? repeatsTo(flow, leg.dialog) : undefined);
    if (flow.reliable) flow.proven = true;
    if (!leg.takeSeq(request)) {
      reply(transaction, 500, [["Retry-After", "1"]], OLD); // RFC 3261 §12.2.2
      return;
    }
    const unsupported = this.core.border.unsupportedOptions(request.headers, false);
    if (unsupported.length > 0) {
      reply(transaction, 420, [["Unsupported", unsupported.join(", ")]]);
      return;
    }
    // RFC 3891 §3: Replaces is only for an INVITE that opens a dialog. But a BYE ends the session, whatever else it
    // says.
    if (request.headers.has("replaces") && request.method !== "BYE") {
      reply(transaction, 400, [], MISPLACED);
      return;
    }
    if (refreshesTarget(request.method) && !takesContact(this.core, transaction, leg)) return;
    const least = isRefresh(request.method) ? tooShort(this.core.config.session.timer, request) : undefined;
    if (least) {
      leg.heard(transaction);
      reply(transaction, 422, [least]);
      return;
    }
    leg.heard(transaction);
    if (leg.session.media) afterMedia(leg, transaction, () => this.toSession(leg, transaction));
    else this.toSession(leg, transaction);
  }

  /**
   * Bounds the requests of one session, so that none takes all of the relay's time. BYE and PRACK are always taken,
   * because they bring something to its end.
   */
  private takesMore(leg: Leg, { method }: SipRequest): boolean {
    if (method === "BYE" || method === "PRACK") return true;
    const { clock, config, counters, peerLog } = this.core;
    if (leg.takesMore(clock.monotonic(), config.limits.perSessionPerSecond)) return true;
    counters.overSessionRate++;
    const facts = { ...ofSession(leg.session), side: leg.side, method };
    peerLog.info("too many requests in a session", leg.session.id, facts);
    return false;
  }

  /** A request with a tag that no session knows. The tag may be invented, and the source address, too. */
  private ofNoSession(transaction: NewRequest, tag: string): void {
    const { core } = this;
    const { request, flow } = transaction;
    const transfer = core.transfersByTag.get(tag);
    if (request.method === "SUBSCRIBE" && transfer?.owns(request)) {
      transaction.begin();
      // RFC 6665 §3.1, §4.1: a SUBSCRIBE moves the dialog as it does in a session, so the same checks apply.
      if (!transfer.takeSeq(request)) reply(transaction, 500, [["Retry-After", "1"]], OLD);
      else if (takesContact(core, transaction, transfer)) takeSubscribe(transfer, transaction);
      return;
    }
    if (core.ended.takes(transaction)) return;
    core.counters.strayRequests++;
    if (!this.admits(request, flow)) {
      core.counters.strayRequestsIgnored++;
      recordOf(transaction)?.forget();
      transaction.ignore();
      return;
    }
    const response = KNOWN.has(request.method)
      ? responseTo(request, 481)
      : responseTo(request, 501, undefined, undefined, [["Allow", ALLOW]]);
    // A session that has just ended here is at no other node.
    const wasHere = core.legs.has(tag) || core.ended.knows(request);
    if (!wasHere && core.others?.request(request, flow, () => flow.send(serialize(response)))) {
      recordOf(transaction)?.forget(); // the node that has the session leaves the record
      transaction.ignore();
    } else transaction.respond(response);
  }

  private toSession(leg: Leg, transaction: NewRequest): void {
    const { actor } = leg.session;
    const from: Side = leg.side;
    if (from === "server" && withCharges(transaction.request)) {
      this.charge(leg, transaction);
      return;
    }
    switch (transaction.request.method) {
      case "BYE":
        actor.send({ type: "bye", from, at: leg.session.now(), payload: transaction });
        return;
      case "UPDATE":
        if (
          leg.confirmed &&
          this.core.border.onlyRefreshes(transaction.request, from === "client" ? "server" : "client")
        )
          actor.send({ type: "refresh", from, payload: transaction });
        else if (leg.confirmed) this.change(leg, transaction);
        else actor.send({ type: "update", from, payload: transaction });
        return;
      case "INVITE":
        this.change(leg, transaction);
        return;
      case "INFO":
        this.info(leg, transaction);
        return;
      case "OPTIONS":
      case "MESSAGE":
      case "NOTIFY":
        actor.send({ type: "message", from, payload: transaction });
        return;
      case "REFER":
        takeReferInside(this.core, leg, transaction);
        return;
      case "SUBSCRIBE": {
        const { transfer } = leg.session;
        takeSubscribe(transfer && !transfer.outside && transfer.from === leg.side ? transfer : undefined, transaction);
        return;
      }
      case "PRACK":
        if (from === "client") actor.send({ type: "prack", payload: transaction });
        else reply(transaction, 481); // RFC 3262 §3: the relay sends app servers no reliable provisional answers.
        return;
      default:
        if (KNOWN.has(transaction.request.method)) reply(transaction, 405, [["Allow", ALLOW]]);
        else actor.send({ type: "message", from, payload: transaction });
    }
  }

  /** A re-INVITE or UPDATE concerns only the two ends, or asks for another service (M20, M22). */
  private change({ session, side: from }: Leg, transaction: ServerTransaction): void {
    const wanted = wantedService(session, transaction.request);
    if (!wanted.ok) {
      const { status, headers, reason, rule } = wanted.error;
      if (rule !== undefined) recordOf(transaction)?.isDecidedBy(rule);
      reply(transaction, status, headers, reason);
    } else if (!wanted.value) session.actor.send({ type: "change", from, payload: transaction });
    else session.actor.send({ type: "service.change", from, payload: transaction, wanted: wanted.value });
  }

  /**
   * Takes a request with charges, whatever its method. The relay answers it itself and never passes it on: a client's
   * 200 could be taken for a promise that the charge is made.
   */
  private charge({ session }: Leg, transaction: ServerTransaction): void {
    const { method } = transaction.request;
    if (method === "BYE") session.actor.send({ type: "bye", from: "server", at: session.now(), payload: transaction });
    else if (method === "INFO" || method === "MESSAGE") session.actor.send({ type: "charge", payload: transaction });
    else {
      session.charges.book.refuse({ kind: "unreadable", text: `charges are not taken in ${method}` });
      refuseCharges(transaction);
    }
  }

  /**
   * An INFO brings charges in the relay's package, or goes to the other end, or has a package that nobody asked for:
   * 469 (RFC 6086 §4.2.2).
   */
  private info(leg: Leg, transaction: ServerTransaction): void {
    const { headers } = transaction.request;
    const { actor, client, server } = leg.session;
    const name = headers.get("info-package")?.replace(/;.*/s, "").trim().toLowerCase();
    if (leg.side === "server" && name === PACKAGE) {
      actor.send({ type: "charge", payload: transaction });
      return;
    }
    const receiver = leg.side === "client" ? server : client;
    // Only once the receiver is confirmed: an app server says in its 2xx at the latest which packages it takes.
    if (name !== undefined && receiver?.confirmed && !receiver.offered.includes(name)) {
      const offered = [...receiver.offered, ...(leg.side === "server" ? [PACKAGE] : [])];
      reply(transaction, 469, [["Recv-Info", offered.join(", ")]]);
      return;
    }
    actor.send({ type: "message", from: leg.side, payload: transaction });
  }

  /**
   * The leg that a message belongs to: found by the To tag, which is ours; Call-ID and From tag must fit, too (RFC 3261
   * §12.2.2).
   */
  private legOf(request: SipRequest, tag: string | undefined): Leg | undefined {
    const leg = tag === undefined ? undefined : this.core.legs.get(tag);
    if (!leg || leg.dialog.callId !== request.callId) return undefined;
    const { remoteTag } = leg.dialog;
    return remoteTag === "" || remoteTag === (request.fromTag ?? "") ? leg : undefined;
  }
}

/** Which requests leave a record: INVITE, REFER, and what changes a session. Undefined: this one does not. */
function kindOf(method: string, toTag: string | undefined): CallKind | undefined {
  if (method === "INVITE") return toTag === undefined ? "invite" : "change";
  if (method === "REFER") return "refer";
  return method === "UPDATE" && toTag !== undefined ? "change" : undefined;
}

const withCharges = ({ body, headers }: SipRequest): boolean =>
  body.length > 0 && bringsCharges(headers.get("content-type"), body);

/** RFC 4028 §3: the requests that refresh a session. */
const isRefresh = (method: string): boolean => method === "UPDATE" || method === "INVITE";

const OLD = "CSeq is older than one received before";
const MISPLACED = "Replaces Is For INVITE";

/** Refuses charges in requests that cannot bring any: a 200 might be taken for a promise (RFC 3261 §21.4.13). */
const refuseCharges = (transaction: ServerTransaction): void =>
  reply(transaction, 415, [["Accept", `*/*, ${CHARGE_JSON};q=0, ${CHARGE_XML};q=0`]]);

interface Refusal {
  readonly status: number;
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly reason?: string;
}

/** RFC 3261 §8.2.2 and §16.3: what is wrong with a request, as far as this can be said without knowing its sender. */
function refusalByHeaders({ border, config }: Core, request: SipRequest, flow: Flow): Refusal | undefined {
  const uri = request.target;
  if (!uri) return { status: 400, reason: "Request-URI cannot be read" };
  // RFC 3261 §26.2.2: every hop to a sips URI is to be secured.
  if (uri.scheme === "other" || (uri.scheme === "sips" && !flow.secure)) return { status: 416 };
  if (maxForwards(request) === 0 && request.method !== "OPTIONS") return { status: 483 };
  let unsupported = border.unsupportedOptions(request.headers, request.method === "INVITE");
  if (request.method === "REGISTER")
    unsupported = unsupported.filter((option) => !REGISTRAR_OPTIONS.includes(option.toLowerCase()));
  if (unsupported.length > 0) return { status: 420, headers: [["Unsupported", unsupported.join(", ")]] };
  const least = request.method === "INVITE" ? tooShort(config.session.timer, request) : undefined;
  if (least) return { status: 422, headers: [least] };
  const encoding = request.headers.get("content-encoding");
  // The rules could not read an encoded body (RFC 3261 §8.2.3).
  if (encoding !== undefined && encoding.toLowerCase() !== "identity" && request.body.length > 0)
    return { status: 415, headers: [["Accept-Encoding", "identity"]] };
  // RFC 3891 §3
  if (request.method !== "INVITE" && request.headers.has("replaces")) return { status: 400, reason: MISPLACED };
  return undefined;
}
