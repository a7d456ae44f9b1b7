import type { SessionEvent, Side } from "../../machines/events.ts";
import { copySession, type SessionContext, sessionMachine } from "../../machines/session.ts";
import { SERVICE_HEADER } from "../charging/charge-body.ts";
import { ownerOf } from "../chart/actor.ts";
import type { Chart } from "../chart/chart.ts";
import { expectProvided } from "../chart/nodes.ts";
import { chartFrom } from "../chart/table.ts";
import type { Identified } from "../directory/types.ts";
import { formatReason } from "../sip/headers.ts";
import type { SipRequest } from "../sip/message.ts";
import { SipResponse } from "../sip/message.ts";
import { reasonPhrase } from "../sip/response.ts";
import type { ServerTransaction } from "../transaction/types.ts";
import { adviseClient } from "./advice.ts";
import { Answer } from "./answer.ts";
import { Change, relayMessage } from "./change.ts";
import { CREDIT_EXHAUSTED, CREDIT_UNKNOWN } from "./credit.ts";
import { dialogAsServer } from "./dialog.ts";
import { Leg } from "./leg.ts";
import { ALLOW, offeredPackages, pass, passWithoutCharges } from "./passing.ts";
import { reply } from "./reply.ts";
import { changeService } from "./service-change.ts";
import type { Session } from "./session.ts";
import { Transfer } from "./transfer.ts";

/*
 * What the actions of the chart `session` do. Each takes the session and, where it needs one, the event that led to it.
 */

type EventOf<T extends SessionEvent["type"]> = Extract<SessionEvent, { type: T }>;

/** The client's half, made when there is something to tell the client: each branch that answers is a dialog of its own. */
function clientLeg(session: Session): Leg | undefined {
  if (session.client || !session.request) return session.client;
  const { core } = session;
  // It is the one of the part before until this one stands.
  if (session.request.change) return session.request.change.first.client;
  const { move } = session.request;
  if (move?.clientLeg) {
    session.client = move.clientLeg(session);
    return session.client;
  }
  const { request, flow } = session.request.transaction;
  const contact = `<sip:${core.transport.contactFor(flow)}>`;
  session.client = new Leg(core, session, "client", dialogAsServer(request, core.random.token(64), contact, flow));
  session.client.offered = offeredPackages(request.headers);
  return session.client;
}

/** The app server's answer to INVITE as the client gets it: the same status, headers and body, in the client's dialog. */
function answerFor(session: Session, client: Leg, from: SipResponse): SipResponse {
  const response = new SipResponse(from.status, from.reason);
  const { headers } = response;
  for (const route of session.request?.transaction.request.headers.all("record-route") ?? [])
    headers.add("Record-Route", route);
  headers.add("To", client.dialog.local).add("Contact", client.dialog.contact);
  passWithoutCharges(from, response);
  if (!headers.has("allow")) headers.add("Allow", ALLOW);
  const packages = offeredPackages(from.headers);
  if (packages.length > 0) headers.add("Recv-Info", packages.join(", "));
  return response;
}

function relayProgress(session: Session, event: EventOf<"server.progress">): void {
  const client = clientLeg(session);
  if (!client) return;
  const from = event.payload as SipResponse;
  if (session.request?.change && session.request.transaction.request.method !== "INVITE") return; // RFC 4320 §4.1
  const answer = answerFor(session, client, from);
  if (session.reliable?.isTaken(from)) session.reliable.relay(answer);
  else session.request?.transaction.respond(answer);
}

function relayAnswer(session: Session, event: EventOf<"server.answer">): void {
  const client = clientLeg(session);
  const request = session.request;
  if (!client || !request) return;
  const { core } = session;
  client.confirmed = !request.move?.clientLeg; // Else it is the relay that invites the client.
  session.reliable?.answered();
  const { transaction, change } = request;
  const response = answerFor(session, client, event.payload as SipResponse);
  if (change) response.headers.add(SERVICE_HEADER, session.service.id);
  if (transaction.request.method === "UPDATE") transaction.respond(response);
  else
    client.answer = new Answer({
      transaction,
      response,
      durations: core.config.timers,
      clock: core.clock,
      timers: core.timers,
      onAck: (ack) => session.actor.send({ type: "client.ack", at: core.clock.wall(), payload: ack }),
      onSilence: () => session.actor.send({ type: "client.silent", at: core.clock.wall() }),
    });
  core.counters.answered++;
  session.credit = request.credits?.handOver(session);
  request.decided(session);
  request.actor.send({ type: "branch.answered", branch: session.appServer.id });
  change?.told(session);
}

function relayAck(session: Session, event: EventOf<"client.ack">, context: SessionContext): void {
  session.invitation?.ack(event.payload as SipRequest | undefined);
  session.established(context.startedAt!);
}

function sendAck(session: Session): void {
  session.client?.answer?.stop();
  session.invitation?.ack(undefined);
}

function recordStart(session: Session, context: SessionContext): void {
  session.credit?.start(context.startedAt!);
  const { replaces } = session;
  const recorded = replaces
    ? session.charges.changed(replaces.facts, replaces.startedAt, context.startedAt!)
    : session.charges.started(context.startedAt!);
  recorded.catch(() => session.end("its start could not be put on record"));
}

function relayBye(session: Session, context: SessionContext, event: EventOf<"bye">): void {
  session.bye = event.payload as ServerTransaction;
  if (event.from === "client") session.transfer?.clientLeft();
  session.change?.abort();
  const to = context.leaving[0]!;
  const { request } = session.bye;
  if (event.from === "server") session.charges.collect(request);
  sendBye(session, to, (bye) => {
    if (to === "server") return pass(request, bye);
    passWithoutCharges(request, bye);
    adviseClient(session, bye, context.startedAt, event.at);
  });
}

function sendByes(session: Session, context: SessionContext): void {
  session.change?.abort();
  const endedBy = context.endedBy === "change" ? "the client changed to another service" : (context.endedBy ?? "");
  const why = endedBy.replace(/^relay: /, "");
  const cause = CAUSES[why] ?? 480;
  // RFC 3326: says why nobody hung up and the session is over all the same.
  const reason = formatReason(cause, why);
  for (const side of context.leaving)
    sendBye(session, side, (bye) => {
      bye.headers.add("Reason", reason);
      if (side === "client")
        adviseClient(session, bye, context.startedAt, context.endedAt ?? session.core.clock.wall());
    });
}

/** SIP statuses that say why the relay ended a session (RFC 3326 §2); any other: 480. */
const CAUSES: Readonly<Record<string, number>> = {
  [CREDIT_EXHAUSTED]: 402,
  [CREDIT_UNKNOWN]: 503,
  "the client changed to another service": 200,
};

function sendBye(session: Session, to: Side, fill: (bye: SipRequest) => void): void {
  const { actor, core } = session;
  const leg = session.leg(to);
  const failed = () => actor.send({ type: "bye.failed", by: to, at: core.clock.wall() });
  if (!leg || (to === "client" && !leg.confirmed)) {
    leg?.unwanted?.();
    failed();
    return;
  }
  const bye = leg.request("BYE");
  fill(bye);
  leg.send(bye, {
    final: (response) => actor.send({ type: "bye.answered", by: to, at: core.clock.wall(), payload: response }),
    timeout: failed,
    transportError: failed,
  });
}

function answerBye(event: EventOf<"bye">): void {
  reply(event.payload as ServerTransaction, 200);
}

/** M16: from here on only the app server's own words reach the client. */
function collectCharges(session: Session, event: EventOf<"bye.answered">): void {
  const response = event.payload as SipResponse;
  session.byeAnswer = response;
  if (event.by === "server") session.charges.collect(response);
}

function recordEnd(session: Session, context: SessionContext): void {
  const { core } = session;
  if (context.endedBy !== "change") core.counters.ended++;
  if (context.startedAt === null) {
    session.recorded = session.charges.settled();
    return;
  }
  const endedAt = context.endedAt ?? core.clock.wall();
  // Where the next part has taken over, its start says when this one ended.
  if (context.endedBy === "change") session.recorded = session.charges.settled();
  else session.recorded = session.charges.ended(context.startedAt, endedAt, context.endedBy ?? "relay");
  core.ended.add(session, endedAt);
}

function relayByeAnswer(session: Session, context: SessionContext): void {
  const { bye, byeAnswer, core } = session;
  // A relay that stops waits for it: the session is gone by then, but its end is on its way to the disk and the answer to BYE waits for that.
  if (!bye) {
    core.ending.add(session.recorded);
    return;
  }
  const answered = session.recorded.then(
    () => {
      const response = new SipResponse(200, reasonPhrase(200));
      // Whatever the other end said, for the one that hung up the session is over.
      if (byeAnswer && byeAnswer.status < 300) passWithoutCharges(byeAnswer, response);
      if (context.endedBy === "client") adviseClient(session, response, context.startedAt, context.endedAt ?? 0);
      bye.respond(response);
    },
    () => reply(bye, 500, [], "The end of the session could not be put on record"),
  );
  core.ending.add(answered);
}

/** RFC 3311: either end may send one once there is an early dialog. */
function relayEarlyUpdate(session: Session, event: EventOf<"update">): void {
  session.invitation?.openEarlyDialog();
  if (session.client && session.server)
    session.change = new Change(session, event.from, event.payload as ServerTransaction);
  else {
    reply(event.payload as ServerTransaction, 481);
    session.actor.send({ type: "change.done" });
  }
}

function relayPrack(session: Session, event: EventOf<"prack">): void {
  const prack = event.payload as ServerTransaction;
  if (session.reliable) session.reliable.prack(prack);
  else reply(prack, 481); // RFC 3262 §3
}

function refuseChange(session: Session, event: EventOf<"change" | "update" | "service.change" | "refer">): void {
  const transaction = event.payload as ServerTransaction;
  // The INVITE that opens the session is under way: it is the client's.
  const first = session.request && transaction.request.method === "INVITE" ? "client" : undefined;
  const pendingOf = session.change?.from ?? first ?? (session.leg(event.from)?.answer && event.from);
  if (!pendingOf) {
    reply(transaction, 481);
    return;
  }
  // RFC 3261 §14.2: 491 where both ends want a change at once, 500 where one has not waited for its own.
  if (pendingOf !== event.from) reply(transaction, 491);
  else reply(transaction, 500, [["Retry-After", String(Number.parseInt(session.core.random.token(8), 16) % 10)]]);
}

/** A request from the other side in the wrong state: the dialog is not there yet, or not any more. */
function refuseMessage(event: EventOf<"message" | "charge" | "refer" | "bye" | "prack">): void {
  reply(event.payload as ServerTransaction, 481);
}

/** The chart `session` with its actions, made once (33 µs an actor; 546 µs when provided for each). */
export function sessionLogic(): Chart<typeof sessionMachine> {
  type Args = { self: unknown; context: SessionContext; event: SessionEvent };
  /** Finds the session, and says which event led here: the chart allows no other at these places. */
  const on =
    <T extends SessionEvent["type"]>(act: (session: Session, event: EventOf<T>, context: SessionContext) => void) =>
    (args: Args) => {
      const session = ownerOf<Session>(args);
      if (session) act(session, args.event as EventOf<T>, args.context);
    };
  const machine = sessionMachine.provide({
    actions: {
      sendInvite: on((session) => session.invite()),
      sendCancel: on((session) => session.invitation?.cancel(session.cancelReason)),
      dropProgress: on((session) => session.reliable?.giveUp()),
      relayProgress: on<"server.progress">(relayProgress),
      relayAnswer: on<"server.answer">(relayAnswer),
      reportFailure: (args, failure) => ownerOf<Session>(args)?.reportFailure(failure),
      reportGivenUp: on((session) => session.reportGivenUp()),
      relayAck: on<"client.ack">(relayAck),
      sendAck: on(sendAck),
      recordStart: on((session, _, context) => recordStart(session, context)),
      relayBye: on<"bye">((session, event, context) => relayBye(session, context, event)),
      sendByes: on((session, _, context) => sendByes(session, context)),
      answerBye: on<"bye">((_, event) => answerBye(event)),
      collectCharges: on<"bye.answered">(collectCharges),
      recordEnd: on((session, _, context) => recordEnd(session, context)),
      relayByeAnswer: on((session, _, context) => relayByeAnswer(session, context)),
      relayChange: on<"change">((session, event) => {
        session.change = new Change(session, event.from, event.payload as ServerTransaction);
      }),
      relayEarlyUpdate: on<"update">(relayEarlyUpdate),
      relayPrack: on<"prack">(relayPrack),
      askService: on<"service.change">((session, event) =>
        changeService(session, event.from, event.payload as ServerTransaction, event.wanted as Identified),
      ),
      refuseChange: on<"change" | "update" | "service.change" | "refer">(refuseChange),
      relayMessage: on<"message">((session, event) =>
        relayMessage(session, event.from, event.payload as ServerTransaction),
      ),
      recordCharge: on<"charge">((session, event) => session.charges.take(event.payload as ServerTransaction)),
      startTransfer: on<"refer">((session, event) =>
        new Transfer(session.core, session, event.from, event.payload as ServerTransaction).start(),
      ),
      refuseMessage: on<"message" | "charge" | "refer" | "bye" | "prack">((_, event) => refuseMessage(event)),
      close: on((session) => session.close()),
    },
  });
  expectProvided(sessionMachine, machine);
  return chartFrom(machine, { copy: copySession });
}
