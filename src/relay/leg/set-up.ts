import { type RunningRecord, runningOf } from "../../calls/of-dead.ts";
import {
  type Check,
  count,
  fields,
  list,
  oneOf,
  optional,
  textUpTo,
  truth,
} from "../../charging/events/field-checks.ts";
import type { Binding } from "../../registrar/binding.ts";
import type { SipResponse } from "../../sip/message.ts";
import { parseMessage } from "../../sip/parse.ts";
import { responseTo } from "../../sip/response.ts";
import { serialize } from "../../sip/serialize.ts";
import { readJson } from "../../support/json.ts";
import { err, ok, type Result } from "../../support/result.ts";
import type { Flow } from "../../transport/types.ts";
import { placeOf } from "../dialog/dialog.ts";
import { laterStatus } from "../dialog/reply.ts";
import type { Core, RequestPort, SessionPort } from "../model/core.ts";
import type { Withdrawn } from "../model/ports.ts";
import { recordOf } from "../model/records.ts";
import { type PlaceState, placeCheck, placeState } from "../model/session-state.ts";

/*
 * A call in set-up ends with the process that sets it up. For another process to end it fast and clean, it is enough to
 * know a few messages: the CANCEL for whoever rings, and the refusal for whoever waits. An app server may ring for a
 * client, or a client's devices for an app server. A change of service or a move inside a session that stands is ended
 * in the same way; the session goes on from its own state.
 */

/** One branch of a call in set-up, as data. */
export interface SetUpState {
  /** Names the caller's request, which several branches may have in common. */
  readonly call: string;
  /** For the app server. */
  readonly cancel?: SentState;
  /** For the client's devices. */
  readonly rings?: readonly RingState[];
  /** Whose devices these are: the user's id. */
  readonly user?: string;
  /** Missing: the caller came by a connection, which is gone with the process; or it is the relay that asks (REFER). */
  readonly refusal?: SentState;
  /** What is on record of the caller's request so far. Missing: an older relay has written it. */
  readonly record?: RunningRecord;
}

interface SentState {
  /** The message, each byte as one character. */
  readonly text: string;
  readonly to: PlaceState;
}

interface RingState extends SentState {
  /** It goes by the connection from there, and by no other. */
  readonly byConnection?: boolean;
}

const text = textUpTo(500, 0);

const runningCheck: Check = fields<RunningRecord>({
  id: textUpTo(100),
  method: oneOf("INVITE"),
  at: count(Number.MAX_SAFE_INTEGER),
  call: optional(text),
  callId: text,
  source: text,
  user: optional(text),
  uri: text,
  rule: optional(text),
  service: optional(text),
  ringMs: optional(count(Number.MAX_SAFE_INTEGER)),
  asked: optional(
    list(
      fields<NonNullable<RunningRecord["asked"]>[number]>({
        appServer: text,
        session: text,
        callId: optional(text),
        atMs: count(Number.MAX_SAFE_INTEGER),
      }),
      50,
    ),
  ),
});

const sent: Check = fields<SentState>({ text: textUpTo(65_535), to: placeCheck });
const ring: Check = fields<RingState>({
  text: textUpTo(65_535),
  to: placeCheck,
  byConnection: optional(truth),
});
/** No call rings at as many devices. */
const MOST_RINGS = 100;
const check: Check = fields<SetUpState>({
  call: textUpTo(400),
  cancel: optional(sent),
  rings: optional(list(ring, MOST_RINGS)),
  user: optional(textUpTo(256)),
  refusal: optional(sent),
  record: optional(runningCheck),
});
const DEPTH = 5;

/** A branch for which somebody rings or waits, as data; undefined: nobody does. */
export function setUpState(session: SessionPort): SetUpState | undefined {
  const { request, invitation, closed, user } = session;
  if (!request || closed) return undefined;
  const all = [...(invitation?.withdrawals() ?? []), ...(request.move?.withdrawals?.() ?? [])];
  if (all.length === 0 && !request.transaction.told) return undefined;
  const soFar = recordOf(request.transaction)?.toRecord();
  const record = soFar && runningOf(soFar);
  const refusal = refusalOf(session, request);
  return {
    call: request.call,
    ...cancelling(all, user),
    ...(refusal && { refusal: sentState(serialize(refusal), request.transaction.flow) }),
    ...(record && { record }),
  };
}

function cancelling(all: readonly Withdrawn[], user: string): Pick<SetUpState, "cancel" | "rings" | "user"> {
  const [server] = all.filter(({ side }) => side === "server");
  const rings = all.filter(({ side }) => side === "client").slice(0, MOST_RINGS);
  return {
    ...(server && { cancel: sentState(serialize(server.cancel), server.flow) }),
    ...(rings.length > 0 && { rings: rings.map(ringState), user }),
  };
}

/** Who rings or waits for a change inside a session that stands; undefined: nobody. It is in its session's state. */
export function underWayState({ id, user, change }: SessionPort): string | undefined {
  const all = change?.withdrawals?.() ?? [];
  const { waits } = change ?? {};
  if (!waits || (all.length === 0 && !waits.told)) return undefined;
  const { request, flow } = waits;
  const refusal = flow.reliable ? undefined : responseTo(request, 491); // RFC 3261 §14.1
  const state: SetUpState = {
    call: id,
    ...cancelling(all, user),
    ...(refusal && { refusal: sentState(serialize(refusal), flow) }),
  };
  return JSON.stringify(state);
}

/** Ends it: the session's process is gone. */
export function endUnderWay(core: Core, text: string): void {
  const read = readSetUpState(text);
  if (read.ok) endSetUp(core, read.value, new Set());
}

/** What the caller hears if the process is gone; undefined: it cannot be told, or it asks again by itself. */
function refusalOf(
  { caller, client, server }: SessionPort,
  { transaction, change, move }: RequestPort,
): SipResponse | undefined {
  const { request, flow } = transaction;
  if (flow.reliable || move?.clientLeg) return undefined;
  const tag = (caller === "client" ? client : server)?.dialog.localTag;
  if (!change) return responseTo(request, laterStatus(request), undefined, tag, [["Retry-After", "1"]]);
  // The session goes on elsewhere, and there the change can be asked for again (RFC 3261 §14.1). An UPDATE comes again.
  return request.method === "INVITE" ? responseTo(request, 491, undefined, tag) : undefined;
}

const ringState = ({ cancel, flow, byConnection }: Withdrawn): RingState => ({
  ...sentState(serialize(cancel), flow),
  ...(byConnection && { byConnection }),
});

const sentState = (bytes: Buffer, flow: Flow): SentState => ({
  text: bytes.toString("latin1"),
  to: placeState(placeOf(flow)),
});

/** Reads what a relay has written of a branch. The error says which field is wrong. */
export function readSetUpState(json: string): Result<SetUpState, string> {
  const read = readJson(json, DEPTH);
  if (!read.ok) return read;
  const problem = check(read.value);
  return problem === undefined ? ok(read.value as SetUpState) : err(problem);
}

/** After how many T1 a message is repeated whose answer cannot come here. */
const REPEATS = [1, 3];

/**
 * Ends a branch whose process is gone: cancels whoever rings (RFC 3261 §9.1), and unless `refused` has its call
 * already, refuses the caller, so that it tries again.
 */
export function endSetUp(core: Core, state: SetUpState, refused: Set<string>): void {
  const { call, cancel, rings = [], user, refusal, record } = state;
  if (cancel && isRequest(cancel, "CANCEL")) repeat(core, cancel, () => core.transport.flowFor?.(cancel.to));
  for (const ringing of rings) if (isRequest(ringing, "CANCEL")) cancelRing(core, ringing, user);
  if (refused.has(call)) return;
  refused.add(call);
  if (refusal && isRequest(refusal, undefined)) repeat(core, refusal, () => core.transport.flowFor?.(refusal.to));
  if (!record) return;
  const answer = refusal && parseMessage(Buffer.from(refusal.text, "latin1"), "datagram");
  const { status, reason } = answer?.ok && !answer.value.isRequest ? answer.value : {};
  core.calls.endedWithNode(record, status, reason);
}

/** A connection of the process that is gone leads nowhere. The client may have come to this node, or to a third one. */
function cancelRing(core: Core, { text, to, byConnection }: RingState, user: string | undefined): void {
  const { transport, flowsElsewhere } = core;
  const bytes = Buffer.from(text, "latin1");
  if (byConnection) {
    const here = transport.connectionFrom?.(to);
    if (here?.open) here.send(bytes);
    else flowsElsewhere?.owesTo(to, (flow) => flow.send(bytes));
    return;
  }
  repeat(core, { text, to }, () => socketOf(core, to, user) ?? transport.flowFor?.(to));
}

/** The way through the NAT of a client that came to another node: by that node's socket. */
function socketOf({ bindings, clock }: Core, { transport, address, port }: PlaceState, user: string | undefined) {
  if (transport !== "udp" || user === undefined) return undefined;
  const isThere = ({ home, flow }: Binding) =>
    home !== undefined && flow?.open && flow.remoteAddress === address && flow.remotePort === port;
  return bindings.of(user, clock.monotonic()).find(isThere)?.flow;
}

function repeat({ clock, config }: Core, { text }: SentState, wayNow: () => Flow | undefined): void {
  const bytes = Buffer.from(text, "latin1");
  const send = () => {
    const flow = wayNow();
    flow?.send(bytes);
    return flow;
  };
  // The first at once, since more of them are to be done in this turn of the event loop.
  const first = send();
  if (first && !first.reliable) for (const units of REPEATS) clock.setTimeout(send, units * config.timers.t1Ms);
}

/** Whether it is that request; undefined: whether it is a response. */
function isRequest({ text }: SentState, method: "CANCEL" | undefined): boolean {
  const read = parseMessage(Buffer.from(text, "latin1"), "datagram");
  return read.ok && (read.value.isRequest ? read.value.method === method : method === undefined);
}
