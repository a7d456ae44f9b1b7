import type { SessionEventOf as EventOf, SessionEvent, Side } from "../../../machines/events.ts";
import { copySession, type SessionContext, sessionMachine } from "../../../machines/session.ts";
import { SERVICE_HEADER, SESSION_HEADER } from "../../charging/charges/header-names.ts";
import { ownerOf } from "../../chart/actor.ts";
import type { Chart } from "../../chart/chart.ts";
import { expectProvided } from "../../chart/nodes.ts";
import { chartFrom } from "../../chart/table.ts";
import type { SipRequest } from "../../sip/message.ts";
import { SipResponse } from "../../sip/message.ts";
import { reasonPhrase } from "../../sip/response.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { changeService } from "../change/service-change.ts";
import { dialogAsServer } from "../dialog/dialog.ts";
import { doubtFrom } from "../dialog/doubt.ts";
import { ALLOW, offeredPackages, recvInfoWithCharges } from "../dialog/passing.ts";
import { reply } from "../dialog/reply.ts";
import { contactUri, isSips } from "../dialog/sips.ts";
import { Leg } from "../leg/leg.ts";
import { answerTimer } from "../leg/session-timer.ts";
import { withMedia } from "../media/media.ts";
import type { LegPort, SessionPort as Session } from "../model/core.ts";
import { recordOf } from "../model/records.ts";
import { ClientCall } from "../request/client-call.ts";
import { invite } from "../request/invitation.ts";
import { Modification } from "../session/modification.ts";
import { Refresh } from "../session/refresh.ts";
import { relayMessage } from "../session/relayed.ts";
import { Transfer } from "../transfer/transfer.ts";

/*
 * What the actions of the chart `session` do. Each takes the session and, where it needs one, the event that led to it.
 */

/** Asks the app server, by an INVITE or within the dialog that it has (M5). */
function sendInvite(session: Session): void {
  const { request } = session;
  if (!request) return; // both ends agree already
  const { change, calls } = request;
  if (change?.keepsServer)
    withMedia(session, "client", request.transaction.request, (asked) => change.askWithin(session, asked));
  else if (calls) {
    // A CANCEL that comes meanwhile finds no call to end: it is begun, and ended at once.
    const call = new ClientCall(session.core, session);
    session.asks(call);
    withMedia(session, "server", request.transaction.request, (asked) => call.start(asked, calls.targets));
  } else invite(session.core, session, (invitation) => session.asks(invitation));
}

const SURE = { doubt: undefined, told: undefined };

/** The leg of an app server that calls a client, made when there is something to tell the app server. */
function openServerLeg(session: Session): LegPort | undefined {
  if (session.server || !session.request) return session.server;
  const { core } = session;
  const { request, flow } = session.request.transaction;
  const contact = contactUri(core.transport.contactFor(flow), isSips(request.uri));
  const dialog = dialogAsServer(request, core.random.token(64), contact, flow);
  dialog.cameFrom = dialog.cameBy = undefined; // an app server is where its Contact says
  const leg = new Leg(core, session, "server", dialog);
  leg.offered = offeredPackages(request.headers);
  session.take(leg);
  return leg;
}

/** The leg of the end that has called. */
const openCallersLeg = (session: Session): LegPort | undefined =>
  session.caller === "client" ? openClientLeg(session) : openServerLeg(session);

/**
 * The client's leg, made when there is something to tell the client: each branch that answers is a dialog of its own.
 */
function openClientLeg(session: Session): LegPort | undefined {
  if (session.client || !session.request) return session.client;
  const { core } = session;
  // The part before has the client's leg until this part is established.
  if (session.request.change) return session.request.change.first.client;
  const { move } = session.request;
  if (move?.clientLeg) {
    session.take(move.clientLeg(session));
    return session.client;
  }
  const { request, flow } = session.request.transaction;
  const isSure = flow.reliable || core.admission.reaches(core.sources.of(request, flow));
  const { doubt, told } = isSure ? SURE : doubtFrom(flow, core.random);
  const contact = contactUri(core.transport.contactFor(flow), isSips(request.uri), told);
  const dialog = dialogAsServer(request, core.random.token(64), contact, flow);
  dialog.doubt = doubt;
  const leg = new Leg(core, session, "client", dialog);
  leg.offered = offeredPackages(request.headers);
  session.take(leg);
  return leg;
}

/** The client's answer to an app server's call, as the app server gets it. */
function answerForServer(session: Session, server: LegPort, from: SipResponse): SipResponse {
  const { border } = session.core;
  const response = new SipResponse(from.status, border.phrase(from, "server"));
  const { headers } = response;
  const asked = session.request?.transaction.request;
  for (const route of asked?.headers.all("record-route") ?? []) headers.add("Record-Route", route);
  headers.add("To", server.dialog.local).add("Contact", server.dialog.contact);
  border.pass(from, response, "server");
  if (from.status >= 200) {
    border.addAbilities(headers, "server");
    if (asked) answerTimer(server, asked, response);
  } else if (!headers.has("allow")) headers.add("Allow", ALLOW);
  headers.add("Recv-Info", recvInfoWithCharges(from.headers));
  headers.add(SESSION_HEADER, session.id); // its charges name the session
  headers.add(SERVICE_HEADER, session.service.id);
  return response;
}

/**
 * The app server's answer to INVITE as the client gets it: the same status, headers and body, in the client's dialog.
 */
function answerFor(session: Session, client: LegPort, from: SipResponse): SipResponse {
  const { border } = session.core;
  const response = new SipResponse(from.status, border.phrase(from, "client"));
  const { headers } = response;
  for (const route of session.request?.transaction.request.headers.all("record-route") ?? [])
    headers.add("Record-Route", route);
  headers.add("To", client.dialog.local).add("Contact", client.dialog.contact);
  session.charges.passOn(from, response, "client");
  const { identity, server, core } = session;
  identity?.answered(from, core.random);
  identity?.mark(response, "client");
  if (from.status >= 200 && core.config.correlation.xCallId && server && !headers.has("x-call-id"))
    headers.add("X-Call-ID", server.dialog.callId);
  if (from.status >= 200) border.addAbilities(headers, "client");
  // Where the relay has invited the client (M23), it is the client that answers.
  const asked = session.request?.move?.clientLeg ? undefined : session.request?.transaction.request;
  if (from.status >= 200 && asked) answerTimer(client, asked, response);
  else if (!headers.has("allow")) headers.add("Allow", ALLOW);
  const packages = offeredPackages(from.headers);
  if (packages.length > 0) headers.add("Recv-Info", packages.join(", "));
  return response;
}

function relayProgress(session: Session, event: EventOf<"server.progress">): void {
  const client = openCallersLeg(session);
  if (!client) return;
  session.core.kept?.rings?.(session);
  const from = event.payload;
  if (client.side === "server") {
    session.request?.transaction.respond(answerForServer(session, client, from));
    return;
  }
  if (session.request?.change && session.request.transaction.request.method !== "INVITE") return; // RFC 4320 §4.1
  const answer = answerFor(session, client, from);
  if (session.reliable?.isTaken(from)) session.reliable.relay(answer);
  else session.request?.transaction.respond(answer);
}

function relayAnswer(session: Session, event: EventOf<"server.answer">): void {
  const client = openCallersLeg(session);
  const { request } = session;
  const { payload: from } = event;
  if (!client || !request || !from) return; // both ends agree already
  const { core } = session;
  client.confirmed = !request.move?.clientLeg; // Otherwise the relay has invited the client.
  session.reliable?.answered();
  const { transaction, change } = request;
  if (change) client.moveTo(transaction);
  const response = client.side === "client" ? answerFor(session, client, from) : answerForServer(session, client, from);
  if (change || request.isForAnother) response.headers.add(SERVICE_HEADER, session.service.id);
  if (transaction.request.method === "UPDATE") transaction.respond(response);
  else {
    request.tells();
    const told = {
      acknowledged: (ack: SipRequest) => session.actor.send({ type: "client.ack", at: session.now(), payload: ack }),
      silent: () => session.actor.send({ type: "client.silent", at: session.now() }),
    };
    const copied = core.kept?.copied?.(session);
    const safe = session.started && copied ? both(session.started, copied) : (session.started ?? copied);
    if (safe) client.answerAfter(safe, transaction, response, told);
    else client.answerUntilAck(transaction, response, told);
  }
  core.counters.answered++;
  takeCredit(session);
  core.kept?.changed(session);
  request.decided(session);
  request.actor.send({ type: "branch.answered", branch: session.appServer.id });
  change?.told(session);
}

const both = async (one: Promise<void>, other: Promise<void>): Promise<void> => {
  await Promise.all([one, other]);
};

function relayAck(session: Session, event: EventOf<"client.ack">, context: SessionContext): void {
  session.invitation?.ack(event.payload);
  session.established(context.startedAt!);
}

/** In this order, because the record of the start says what the part before has handed over. */
function begin(session: Session, event: EventOf<"client.ack">, context: SessionContext): void {
  relayAck(session, event, context);
  recordStart(session, event, context);
}

function sendAck(session: Session): void {
  session.invitation?.ack(undefined);
}

/**
 * The clock was started by the client's ACK, or by the answer. In that case the client hears the answer when the start
 * is on record (decision 8).
 */
function recordStart(session: Session, event: SessionEvent, context: SessionContext): void {
  takeCredit(session);
  session.credit?.start(context.startedAt!);
  const { successorOf: former } = session;
  const recorded = former
    ? session.charges.changed(former.facts, former.startedAt, context.startedAt!)
    : session.charges.started(context.startedAt!);
  if (event.type === "server.answer") {
    session.startsWith(recorded);
    const invited = session.caller === "client" ? "server" : "client";
    recorded.catch(() => session.actor.send({ type: "client.refused", at: session.now(), invited }));
  } else recorded.catch(() => session.end({ code: "not-recorded" }));
}

/** From now on the session itself has the hold in the user's balance. */
function takeCredit(session: Session): void {
  if (session.credit) return;
  const credit = session.request?.credits?.handOver(session);
  if (credit) session.pays(credit);
}

/** RFC 3311: either end may send an UPDATE once there is an early dialog. */
function relayEarlyUpdate(session: Session, event: EventOf<"update">): void {
  session.invitation?.openEarlyDialog();
  if (session.client && session.server) Modification.begin(session, event.from, event.payload);
  else {
    refuseForNow(session, event.from, event.payload); // the other end has no dialog yet
    session.actor.send({ type: "change.done" });
  }
}

/** The other end hears nothing of it: it has a timer of its own, or none (RFC 4028 §9). */
function answerRefresh(session: Session, { from, payload: transaction }: EventOf<"refresh">): void {
  const leg = session.leg(from);
  if (!leg) {
    reply(transaction, 481);
    return;
  }
  recordOf(transaction)?.forget(); // it changes nothing, and comes as often as the peer likes
  leg.moveTo(transaction);
  const response = new SipResponse(200, reasonPhrase(200));
  response.headers.add("Contact", leg.dialog.contact);
  session.core.border.addAbilities(response.headers, from);
  answerTimer(leg, transaction.request, response);
  transaction.respond(response);
}

function relayPrack(session: Session, event: EventOf<"prack">): void {
  const prack = event.payload;
  if (session.reliable) session.reliable.prack(prack);
  else reply(prack, 481); // RFC 3262 §3
}

function refuseChange(
  session: Session,
  event: EventOf<"change" | "update" | "service.change" | "refresh" | "refer">,
): void {
  const transaction = event.payload;
  // Without a change, the INVITE that opens the session is under way, and that is the client's.
  const pendingOf = session.change?.from ?? (session.request && "client");
  // RFC 3261 §14.2, RFC 3311 §5.2: 491 where both ends want a change at once, 500 where one has not waited for its own.
  if (pendingOf && pendingOf !== event.from) reply(transaction, 491);
  else refuseForNow(session, event.from, transaction, Number.parseInt(session.core.random.token(8), 16) % 10);
}

/**
 * Refuses what cannot be done now but may be tried again: 500 as long as there is the dialog, else 481, which tells the
 * sender that the dialog is gone (RFC 3261 §12.2.1.2).
 */
function refuseForNow(session: Session, from: Side, transaction: ServerTransaction, afterS = 1): void {
  const leg = session.leg(from);
  const isKnown = leg && (leg.confirmed || from === "client" || session.invitation?.hasEarlyDialog);
  if (!isKnown || leg.over) reply(transaction, 481);
  else reply(transaction, 500, [["Retry-After", String(afterS)]]);
}

/** A request in the wrong state: the session is not established yet, or not any more. */
function refuseMessage(session: Session, event: EventOf<"message" | "charge" | "refer" | "bye" | "prack">): void {
  const transaction = event.payload;
  // RFC 3261 §15: the callee sends no BYE in an early dialog. RFC 3262 §3: this PRACK acknowledges nothing.
  if (event.type === "bye" || event.type === "prack") reply(transaction, 481);
  else refuseForNow(session, event.type === "charge" ? "server" : event.from, transaction);
}

/**
 * The chart `session` with its actions, made once, at start: providing them anew for each actor costs half a
 * millisecond.
 */
export function sessionLogic(): Chart<typeof sessionMachine> {
  type Args = { self: unknown; context: SessionContext; event: SessionEvent };
  /** Finds the session, and gives the event its type: the chart uses the action with no other event. */
  const on =
    <T extends SessionEvent["type"]>(act: (session: Session, event: EventOf<T>, context: SessionContext) => void) =>
    (args: Args) => {
      const session = ownerOf<Session>(args);
      if (session) act(session, args.event as EventOf<T>, args.context);
    };
  const machine = sessionMachine.provide({
    actions: {
      sendInvite: on(sendInvite),
      sendCancel: on((session) => session.invitation?.cancel(session.cancelReason)),
      dropProgress: on((session) => session.reliable?.giveUp()),
      relayProgress: on<"server.progress">(relayProgress),
      relayAnswer: on<"server.answer">(relayAnswer),
      reportFailure: (args, failure) => ownerOf<Session>(args)?.reportFailure(failure),
      reportGivenUp: on((session) => session.reportGivenUp()),
      begin: on<"client.ack">(begin),
      relayAck: on<"client.ack">(relayAck),
      sendAck: on(sendAck),
      recordStart: on(recordStart),
      relayBye: on<"bye">((session, event, context) => session.hangUp.relayBye(event, context)),
      sendByes: on((session, _, context) => session.hangUp.sendByes(context)),
      answerBye: on<"bye">((session, event) => session.hangUp.answerBye(event)),
      collectCharges: on<"bye.answered">((session, event) => session.hangUp.collectCharges(event)),
      recordEnd: on((session, _, context) => session.hangUp.recordEnd(context)),
      relayByeAnswer: on((session, _, context) => session.hangUp.relayByeAnswer(context)),
      relayChange: on<"change">((session, event) => {
        Modification.begin(session, event.from, event.payload);
      }),
      answerRefresh: on<"refresh">(answerRefresh),
      sendRefresh: on<"refresh.due">((session, event) => Refresh.begin(session, event.side)),
      relayEarlyUpdate: on<"update">(relayEarlyUpdate),
      relayPrack: on<"prack">(relayPrack),
      askService: on<"service.change">((session, event) =>
        changeService(session, event.from, event.payload, event.wanted),
      ),
      refuseChange: on<"change" | "update" | "service.change" | "refresh" | "refer">(refuseChange),
      relayMessage: on<"message">((session, event) => relayMessage(session, event.from, event.payload)),
      recordCharge: on<"charge">((session, event) => session.charges.take(event.payload)),
      startTransfer: on<"refer">((session, event) =>
        new Transfer(session.core, session, event.from, event.payload).start(),
      ),
      refuseMessage: on<"message" | "charge" | "refer" | "bye" | "prack">(refuseMessage),
      close: on((session, _, context) => session.close(context)),
    },
  });
  expectProvided(sessionMachine, machine);
  return chartFrom(machine, { copy: copySession });
}
