import type { SessionContext } from "../../../machines/session.ts";
import type { AppServer, Identified, Service } from "../../directory/types.ts";
import { Headers, SipRequest, type SipResponse } from "../../sip/message.ts";
import { parseMessage } from "../../sip/parse.ts";
import { serialize } from "../../sip/serialize.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { KINDS } from "../../transport/kinds.ts";
import type { Flow } from "../../transport/types.ts";
import { Credit } from "../charges/credit.ts";
import { type Dialog, placeOf } from "../dialog/dialog.ts";
import { contactUri, isSecured } from "../dialog/sips.ts";
import { deviceAt } from "../leg/device.ts";
import { Leg, SEQ_JUMP } from "../leg/leg.ts";
import { SessionTimer } from "../leg/session-timer.ts";
import { underWayState } from "../leg/set-up.ts";
import type { Core, LegPort, SessionPort } from "../model/core.ts";
import type { Asking } from "../model/ports.ts";
import {
  type AnswerState,
  type ChartState,
  type IdentifiedState,
  type LegState,
  type PlaceState,
  placeState,
  type SessionState,
  STATE_VERSION,
} from "../model/session-state.ts";
import { Session } from "./session.ts";

/*
 * Writes a session as data, and makes a session of such data: in the same process, in one that was started after this
 * one was killed, or in another one that has a copy. The data have nothing of what is under way (a re-INVITE, a REFER,
 * requests that are passed on) but what ends it where it rings: the rest ends with the process.
 */

/**
 * A session as data; undefined: it is not answered yet, or depends on a change or move that is not decided. `without`:
 * leaves out the charges, for a caller that keeps them separately.
 */
export function snapshot(session: SessionPort, without?: "without charges"): SessionState | undefined {
  const { core, facts, user, asked, identified, endsAt, client, server, credit, closed } = session;
  const caller = session.caller === "client" ? client : server;
  const chart = chartState(session, caller);
  if (!chart || !client || !server || closed) return undefined;
  const answer = chart.value === "answered" ? answerState(session, caller!) : undefined;
  if (chart.value === "answered" && !answer) return undefined;
  // Field by field, since this is done for nearly every session, and a spread takes several times as long.
  const state: Writable<SessionState> = {
    version: STATE_VERSION,
    facts,
    user,
    asked,
    identified: identifiedState(identified),
    chart,
    endsAt,
    client: legState(core, client),
    server: legState(core, server),
  };
  const book = session.charges.state(without);
  if (book) state.book = book;
  if (credit) state.credit = credit.state;
  const parts = session.partsState;
  if (parts) state.parts = parts;
  if (answer) state.answer = answer;
  const media = session.media?.state;
  if (media) state.media = media;
  const underWay = session.change?.withdrawals && underWayState(session);
  if (underWay !== undefined && underWay.length <= MAX_UNDER_WAY) state.underWay = underWay;
  return state;
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function chartState({ actor, request, takesOver }: SessionPort, caller: LegPort | undefined): ChartState | undefined {
  const { value, context } = actor.getSnapshot() as { value: unknown; context: SessionContext };
  if (typeof value === "object" && value !== null && "established" in value) return { value: ESTABLISHED, context };
  // A next part, or a session that the client moves on to, counts only when the client has agreed.
  const stands =
    value === "answered" && !takesOver && !request?.move && (caller?.answer ?? caller?.coming)?.opens === true;
  return stands ? { value, context } : undefined;
}

const ESTABLISHED = { established: "steady" } as const;

function identifiedState({ attributes, client, fork, rule, appServers, clientMayChoose }: Identified): IdentifiedState {
  const state: Writable<IdentifiedState> = { attributes, client, fork };
  if (rule !== undefined) state.rule = rule;
  if (appServers) state.appServers = appServers;
  if (clientMayChoose) state.clientMayChoose = clientMayChoose;
  return state;
}

function legState(core: Core, leg: LegPort): LegState {
  const { dialog, offered, stranded, unheardSince, timer: ofLeg } = leg;
  const { flow, behind, destination, cameFrom } = dialog;
  const state: Writable<LegState> = {
    callId: dialog.callId,
    localTag: dialog.localTag,
    remoteTag: dialog.remoteTag,
    local: dialog.local,
    remote: dialog.remote,
    remoteTarget: dialog.remoteTarget,
    routes: dialog.routes,
    localSeq: dialog.localSeq,
    remoteSeq: dialog.remoteSeq,
    contact: dialog.contact,
  };
  if (behind) state.behind = placeState(behind);
  if (destination) state.destination = placeState(destination);
  if (dialog.peerName !== undefined) state.peerName = dialog.peerName;
  if (cameFrom) state.cameFrom = placeState(cameFrom);
  if (flow || stranded) {
    state.byConnection = true;
    const { instance } = deviceAt(core, leg) ?? {};
    if (instance !== undefined) state.instance = instance;
  }
  if (offered.length > 0) state.offered = offered;
  if (unheardSince !== undefined) state.unheardSince = unheardSince;
  const timer = ofLeg?.state;
  if (timer) state.timer = timer;
  return state;
}

/** Undefined also where the answer is too large for a state. */
function answerState({ invitation, caller }: SessionPort, { answer: sent, coming }: LegPort): AnswerState | undefined {
  const answer = sent ?? coming;
  if (!answer || !invitation) return undefined;
  const { response, flow } = answer.sent;
  const text = serialize(response).toString("latin1");
  if (text.length > MAX_ANSWER) return undefined;
  const state = { response: text, to: placeState(placeOf(flow)), seq: answer.seq, serverSeq: invitation.seq };
  return caller === "client" ? state : { ...state, caller };
}

const MAX_ANSWER = 65_535;
const MAX_UNDER_WAY = 65_535;

/**
 * Makes a session of its data. Its flows are found anew, and its CSeqs skip the numbers that may have been used since
 * it was written. Nothing is sent until `goOn`.
 */
export function restore(core: Core, state: SessionState, from: From = {}): SessionPort {
  const { facts, user, asked, identified, book, credit, answer, media } = state;
  const { directory, timelines } = core;
  const service: Service = directory.service(facts.service) ?? { id: facts.service };
  const appServer = directory.appServer(facts.appServer) ?? { ...NOBODY, id: facts.appServer };
  const session = new Session(
    core,
    {
      user,
      account: facts.user,
      call: facts.call,
      identified: { ...identified, service, ...(facts.tariff && { tariff: facts.tariff }) },
      asked,
      previous: facts.previous,
      timeline: timelines.by(facts.clockStepMs ?? 0),
      credits: undefined,
    },
    appServer,
    undefined,
    state,
  );
  const client = legOf(core, session, "client", state.client, from);
  session.take(client);
  const server = legOf(core, session, "server", state.server, from);
  session.take(server);
  session.takeUp(state);
  if (media && core.media) session.takesMedia(core.media.open(media.id, media));
  if (book) session.charges.restore(book);
  if (credit) session.pays(Credit.restored(core, session, credit, session.charges.bookIfAny?.charged() ?? []));
  if (answer) session.asks(new Acknowledgement(answer.caller ? client : server, answer.serverSeq));
  return session;
}

/** Where a restored session was before. */
export interface From {
  /**
   * When both ends were last heard of, by the session's timeline. Given where the process that had the session is gone.
   */
  readonly lastHeardAt?: number;
  /** The connection by which its client came. */
  readonly flow?: Flow | undefined;
  /** It was at another node, so its peers must hear that it is here now. */
  readonly elsewhere?: boolean;
}

/** Our Contact in a dialog that another node had. The peer's place is known, unless its Contact was never resolved. */
function contactHere({ transport }: Core, { behind, destination, cameFrom, contact }: LegState): string {
  const place = behind ?? destination ?? cameFrom;
  return place ? contactUri(transport.contactTowards(place), isSecured({ contact })) : contact;
}

/** For a session whose app server is no longer registered: the dialog has all that is needed to send requests to it. */
const NOBODY: Omit<AppServer, "id"> = { uri: "sip:nobody.invalid", services: [] };

/** Lets a restored session go on: does what is due, and asks both ends whether they are still there. */
export function goOn(session: SessionPort, { answer }: SessionState): void {
  const { core } = session;
  const caller = session.caller === "client" ? session.client : session.server;
  session.goOn();
  if (!answer || !caller || session.closed) return;
  const read = parseMessage(Buffer.from(answer.response, "latin1"), "datagram");
  if (!read.ok || read.value.isRequest) {
    session.actor.send({ type: "client.silent", at: session.now() });
    return;
  }
  caller.answerUntilAck(new AnswerAgain(core, caller, answer), read.value, {
    acknowledged: (ack) => session.actor.send({ type: "client.ack", at: session.now(), payload: ack }),
    silent: () => session.actor.send({ type: "client.silent", at: session.now() }),
  });
}

function legOf(
  core: Core,
  session: SessionPort,
  side: "client" | "server",
  state: LegState,
  { lastHeardAt, elsewhere, flow }: From,
): Leg {
  const { byConnection, offered = [] } = state;
  // Fields in the order of `dialogAsServer`, so that V8 gives all dialogs the same shape.
  const dialog: Dialog = {
    callId: state.callId,
    localTag: state.localTag,
    remoteTag: state.remoteTag,
    local: state.local,
    remote: state.remote,
    remoteTarget: state.remoteTarget,
    routes: state.routes,
    localSeq: state.localSeq + SEQ_JUMP,
    remoteSeq: state.remoteSeq,
    contact: elsewhere ? contactHere(core, state) : state.contact,
    behind: state.behind,
    flow: side === "client" ? flow : undefined,
    destination: state.destination,
    peerName: state.peerName,
    cameFrom: state.cameFrom,
    cameBy: undefined,
  };
  const leg = new Leg(core, session, side, dialog);
  leg.confirmed = true;
  leg.offered = offered;
  leg.stranded = byConnection === true && dialog.flow === undefined;
  if (leg.stranded && state.instance !== undefined) leg.device = { user: session.user, instance: state.instance };
  // A peer that had not come back to the process before was last heard of before that process.
  leg.unheardSince = state.unheardSince ?? lastHeardAt;
  leg.contactIsNew = dialog.contact !== state.contact;
  if (state.timer) leg.timer = SessionTimer.of(state.timer, session.now());
  return leg;
}

/**
 * Stands for the caller's INVITE after a restart: only the 2xx is left, which waits for its ACK. The 2xx goes where it
 * went before, or by the client's new connection.
 */
class AnswerAgain implements ServerTransaction {
  readonly request: SipRequest;
  readonly answered = true;
  readonly told = false;
  /** The flow by which the INVITE came. Only its address is left. */
  readonly flow: Flow;
  private readonly core: Core;
  private readonly leg: LegPort;
  private readonly to: PlaceState;

  constructor(core: Core, leg: LegPort, { seq, to }: AnswerState) {
    this.core = core;
    this.leg = leg;
    this.to = to;
    const { transport, address: remoteAddress, port: remotePort, leavesBy: cameTo } = to;
    const place = { transport, remoteAddress, remotePort, cameTo };
    const { reliable, secure } = KINDS[transport];
    this.flow = { ...place, id: "", reliable, secure, open: false, send: () => {} };
    this.request = new SipRequest("INVITE", "", new Headers().add("CSeq", `${seq} INVITE`));
  }

  respond(response: SipResponse): void {
    const flow = this.leg.dialog.flow ?? this.core.transport.wayTo?.(this.to);
    flow?.send(serialize(response));
  }
}

/**
 * Stands for the relay's INVITE to the end that was called, after a restart: only its 2xx is left, which waits for the
 * caller's ACK.
 */
class Acknowledgement implements Asking {
  readonly seq: number;
  readonly refusal = undefined;
  readonly hasEarlyDialog = false;
  private readonly leg: LegPort;

  constructor(leg: LegPort, seq: number) {
    this.leg = leg;
    this.seq = seq;
  }

  ack(from: SipRequest | undefined): void {
    const { leg } = this;
    const { border } = leg.session.core;
    leg.sendAck(this.seq, from && ((ack) => border.pass(from, ack, leg.side)));
  }

  cancel(): void {}
  withdrawals(): [] {
    return [];
  }
  openEarlyDialog(): void {}
  close(): void {}
}
