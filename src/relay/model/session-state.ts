import type { Side } from "../../../machines/events.ts";
import type { SessionContext } from "../../../machines/session.ts";
import { type BookState, bookCheck, type PartsState, partsCheck } from "../../charging/charges/book-state.ts";
import { factsProblem, taxesCheck, useCheck } from "../../charging/events/event-fields.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import {
  type Check,
  count,
  currency,
  duration,
  fields,
  isMissing,
  list,
  oneOf,
  optional,
  quote,
  texts,
  textUpTo,
  time,
  truth,
  written,
} from "../../charging/events/field-checks.ts";
import type { TariffUse } from "../../charging/money/tariff.ts";
import type { AppliedTax } from "../../charging/money/terms.ts";
import type { Identified } from "../../directory/types.ts";
import type { Manner } from "../../media/sdp.ts";
import { parseNameAddr } from "../../sip/headers.ts";
import { sipUriOf } from "../../sip/uri.ts";
import { readJson } from "../../support/json.ts";
import { err, ok, type Result } from "../../support/result.ts";
import { type Destination, TRANSPORTS, type TransportName } from "../../transport/types.ts";

/*
 * A session as data: everything of it that is not a socket (decision 12). Times are milliseconds since 1970 by the
 * session's own timeline, which `facts.clockStepMs` names. The reader takes what an older relay has written, and
 * ignores fields that it does not know. It refuses what a newer relay has written, and names the version.
 */

export const STATE_VERSION = 1;

export interface SessionState {
  readonly version: typeof STATE_VERSION;
  readonly facts: SessionFacts;
  /** Who signed in; `facts.user` is whose bill it is on. */
  readonly user: string;
  /** The Request-URI of the client's INVITE: a change of service is judged with it. */
  readonly asked: string;
  readonly identified: IdentifiedState;
  readonly chart: ChartState;
  /** When the longest time that the session may last is over; 0: its clock does not run yet. */
  readonly endsAt: number;
  readonly client: LegState;
  readonly server: LegState;
  /** Missing: nothing was charged. */
  readonly book?: BookState;
  /** Only of a prepaid session. */
  readonly credit?: CreditState;
  /** Missing: the session is the only part of its call. */
  readonly parts?: PartsState;
  /** The 2xx that the client has not acknowledged. */
  readonly answer?: AnswerState;
  /** Missing: no media relay is in the path. */
  readonly media?: MediaState;
  /** What is to be cancelled and refused if the process ends now, as text (../leg/set-up.ts). */
  readonly underWay?: string;
}

/** What a media relay has of a call. */
export interface MediaState {
  /** The call's name there. */
  readonly id: string;
  /** Which one, as `host:port`. */
  readonly engine: string;
  /** How each end sends media, as far as it is known. */
  readonly client?: Manner;
  readonly server?: Manner;
  /** Who waits for the answer to an offer. */
  readonly owed?: Side;
}

/** What the rules found. Service and tariff are left out, since they stand in the facts. */
export type IdentifiedState = Omit<Identified, "service" | "tariff">;

/** The state of the chart `session`: answered, or established. What is under way in the session is not kept. */
export interface ChartState {
  readonly value: "answered" | { readonly established: "steady" };
  readonly context: SessionContext;
}

/** An address where something goes, or came from. */
export interface PlaceState {
  readonly transport: TransportName;
  readonly address: string;
  readonly port: number;
  readonly leavesBy?: string;
  readonly name?: string;
}

export const placeState = ({ transport, address, port, leavesBy, name }: Destination): PlaceState => ({
  transport,
  address,
  port,
  ...(leavesBy !== undefined && { leavesBy }),
  ...(name !== undefined && { name }),
});

/** A dialog without its connection (RFC 3261 §12). */
export interface LegState {
  readonly callId: string;
  readonly localTag: string;
  readonly remoteTag: string;
  readonly local: string;
  readonly remote: string;
  readonly remoteTarget: string;
  readonly routes: readonly string[];
  readonly localSeq: number;
  readonly remoteSeq: number;
  readonly contact: string;
  readonly behind?: PlaceState;
  readonly destination?: PlaceState;
  readonly peerName?: string;
  readonly cameFrom?: PlaceState;
  /** The peer is reached only by the connection that it has made itself. */
  readonly byConnection?: true;
  /** With what it has registered by that connection (RFC 5626 §4.1): another flow of that device leads there, too. */
  readonly instance?: string;
  /** Info Packages that the peer takes (RFC 6086 §5.2). */
  readonly offered?: readonly string[];
  /** The process that had the session was killed, and the peer has not been heard of since this time. */
  readonly unheardSince?: number;
  /** Missing: the session does not expire, as far as this peer is concerned. */
  readonly timer?: TimerState;
}

/** The session timer of a leg (RFC 4028). */
export interface TimerState {
  readonly intervalS: number;
  readonly refresher: "relay" | "peer";
  readonly expiresAt: number;
  /** The largest Min-SE that was heard in the dialog, seconds. */
  readonly minS?: number;
  /** The peer has no UPDATE. */
  readonly byInvite?: boolean;
  /** What a re-INVITE repeats; each byte is one character. */
  readonly description?: { readonly type: string; readonly text: string };
}

/**
 * What is held of a prepaid balance. What was charged stands in the book. Amounts are millionths of the currency's
 * unit.
 */
export interface CreditState {
  readonly currency: string;
  readonly taxes?: readonly AppliedTax[];
  readonly used?: TariffUse;
  /** Missing: the clock does not run yet. */
  readonly startedAt?: number;
  readonly held: number;
  readonly coveredMs: number;
  readonly heldUntil: number;
  readonly unsure: boolean;
  readonly exhausted: boolean;
  readonly warned: boolean;
  /** How many notices there were so far, for the ids of further ones. */
  readonly events: number;
}

/** A 2xx whose ACK is awaited (RFC 3261 §13.3.1.4). */
export interface AnswerState {
  /** The response as it was sent, each byte as one character. */
  readonly response: string;
  /** Where it was sent. */
  readonly to: PlaceState;
  /**
   * CSeq numbers of the client's INVITE, and of the relay's INVITE to the app server, which is acknowledged together
   * with it.
   */
  readonly seq: number;
  readonly serverSeq: number;
  /** It is the app server that has called: it got the response, and `serverSeq` is of the INVITE to the client. */
  readonly caller?: "server";
}

/**
 * Bounds for each kind of text: as much as a message or the configuration may hold, so that no disk or peer can bring
 * more.
 */
const LINE = textUpTo(8_192);
const NAME = textUpTo(400);
const manner = fields<Manner>({ protocol: textUpTo(40), ice: truth, mux: truth });
const MESSAGE = textUpTo(65_535);
const MOST = 1_000;

export const placeCheck: Check = fields<PlaceState>({
  transport: oneOf(...TRANSPORTS),
  address: textUpTo(100),
  port: count(65_535),
  leavesBy: optional(textUpTo(100)),
  name: optional(textUpTo(256)),
});

/** What goes into messages is checked, so that the messages can be read. */
const uri: Check = (value) => LINE(value) ?? (sipUriOf(value as string) ? undefined : "must be a SIP URI");
const address: Check = (value) =>
  LINE(value) ?? (parseNameAddr(value as string).ok ? undefined : "must be an address as in From");
const token = written(/^[!-~\u0080-\u00ff]{1,8192}$/, "text without spaces");

const SEQ = 2 ** 31; // RFC 3261 §8.1.1.5
const leg: Check = fields<LegState>({
  callId: token,
  localTag: token,
  remoteTag: (value) => (value === "" ? undefined : token(value)), // RFC 2543 had no tags
  local: address,
  remote: address,
  remoteTarget: uri,
  routes: list(address, MOST),
  localSeq: count(SEQ),
  remoteSeq: (value) => (value === -1 ? undefined : count(SEQ)(value)),
  contact: address,
  behind: optional(placeCheck),
  destination: optional(placeCheck),
  peerName: optional(textUpTo(256)),
  cameFrom: optional(placeCheck),
  byConnection: optional(truth),
  instance: optional(NAME),
  offered: optional(list(NAME, MOST)),
  unheardSince: optional(time),
  timer: optional(
    fields<TimerState>({
      intervalS: count(SEQ),
      refresher: oneOf("relay", "peer"),
      expiresAt: time,
      minS: optional(count(SEQ)),
      byInvite: optional(truth),
      description: optional(fields<NonNullable<TimerState["description"]>>({ type: LINE, text: MESSAGE })),
    }),
  ),
});

const orNull =
  (check: Check): Check =>
  (value) =>
    value === null ? undefined : check(value);
const side = oneOf("client" satisfies Side, "server" satisfies Side);

const context: Check = fields<SessionContext>({
  version: (value) => (value === 1 ? undefined : `must be 1, is ${quote(value)}`),
  id: NAME,
  clock: oneOf("ack", "answer"),
  startedAt: orNull(time),
  endedAt: orNull(time),
  endedBy: (value) => (value === null ? undefined : `must be null, is ${quote(value)}`), // what is kept has not ended
  byeAt: orNull(time),
  leaving: list(side, 2),
  creditUntil: orNull(time),
});

const chart: Check = fields<ChartState>({
  value: (value) =>
    value === "answered" || (value as { established?: unknown } | null)?.established === "steady"
      ? undefined
      : `must be answered or established, is ${quote(value)}`,
  context,
});

const state: Check = fields<SessionState>({
  version: (value) => (value === STATE_VERSION ? undefined : `must be ${STATE_VERSION}, is ${quote(value)}`),
  facts: (value) => {
    const problem = isMissing(value);
    if (problem !== undefined) return problem;
    const wrong = factsProblem(value as SessionFacts);
    return wrong === undefined ? undefined : `.${wrong}`;
  },
  user: NAME,
  asked: LINE,
  identified: fields<IdentifiedState>({
    rule: optional(NAME),
    attributes: texts(MOST, 8_192),
    client: texts(MOST, 8_192),
    appServers: optional(list(NAME, MOST)),
    fork: oneOf("sequential", "first", "all"),
    clientMayChoose: optional(list(oneOf("single", "sequential", "first", "all"), 4)),
  }),
  chart,
  endsAt: time,
  client: leg,
  server: leg,
  book: optional(bookCheck),
  credit: optional(
    fields<CreditState>({
      currency,
      taxes: optional(taxesCheck),
      used: optional(useCheck),
      startedAt: optional(time),
      held: count(Number.MAX_SAFE_INTEGER),
      coveredMs: duration,
      heldUntil: time,
      unsure: truth,
      exhausted: truth,
      warned: truth,
      events: count(Number.MAX_SAFE_INTEGER),
    }),
  ),
  parts: optional(partsCheck),
  media: optional(
    fields<MediaState>({
      id: NAME,
      engine: NAME,
      client: optional(manner),
      server: optional(manner),
      owed: optional(oneOf("client" satisfies Side, "server" satisfies Side)),
    }),
  ),
  underWay: optional(MESSAGE),
  answer: optional(
    fields<AnswerState>({
      response: MESSAGE,
      to: placeCheck,
      seq: count(SEQ),
      serverSeq: count(SEQ),
      caller: optional(oneOf("server")),
    }),
  ),
});

/**
 * Each function turns what version n wrote into what version n + 1 would have written. The first one is for version 1.
 */
export type Upgrades = readonly ((older: object) => object)[];
const UPGRADES: Upgrades = [];

/** More levels than any state has. */
const DEPTH = 12;

/** Reads what a relay has written of a session. The error says which field is wrong and what was expected. */
export function readSessionState(json: string): Result<SessionState, string> {
  const read = readJson(json, DEPTH);
  return read.ok ? checkSessionState(read.value) : err(read.error);
}

/** The same for a value that was parsed already. `upgrades`: those of this version, unless a test brings its own. */
export function checkSessionState(value: unknown, upgrades: Upgrades = UPGRADES): Result<SessionState, string> {
  const missing = isMissing(value);
  if (missing !== undefined) return err(`a session's state ${missing}`);
  const { version } = value as { readonly version?: unknown };
  if (!Number.isSafeInteger(version) || (version as number) < 1)
    return err(`version must be a number, is ${quote(version)}`);
  const newest = upgrades.length + 1;
  if ((version as number) > newest)
    return err(`version ${version as number} was written by a newer Tollgate; this one reads versions up to ${newest}`);
  const upgraded = upgrades.slice((version as number) - 1).reduce((older, upgrade) => upgrade(older), value as object);
  const current = { ...upgraded, version: STATE_VERSION };
  const problem = state(current);
  return problem === undefined ? ok(current as unknown as SessionState) : err(problem.slice(1));
}
