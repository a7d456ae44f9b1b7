import type { Tariff, TariffUse } from "../money/tariff.ts";
import type { Terms } from "../money/terms.ts";
import { type Charge, chargeKey } from "./charge-fields.ts";
import { asLabel } from "./field-checks.ts";

/** Greatest length of `endedBy`, in characters; `asLabel` cuts longer texts. */
export const MAX_ENDED_BY = 200;

/**
 * What money depends on. Every event is self-contained (who, what, which terms). So the bill is the same when events
 * arrive twice or out of order, and can be made again from the events alone (decisions 8 and 9).
 */
interface EventBase {
  /** Unique for what happened, and the same in a repetition; made by the functions below. */
  readonly id: string;
  /** When it happened, milliseconds since 1970. */
  readonly at: number;
  readonly session: SessionFacts;
}

/** What is fixed for a session when it is set up. */
export interface SessionFacts {
  readonly id: string;
  /** Whose bill it is on: the name of the user's account (src/directory/accounts.ts), mostly the user's id. */
  readonly user: string;
  readonly service: string;
  readonly appServer: string;
  /** Correlation id of both SIP legs and of all sessions of one client request. */
  readonly call: string;
  /** The tariff at that time; undefined: time costs nothing. */
  readonly tariff?: Tariff;
  /**
   * Taxes, and what is agreed with the app server; undefined: none. In a charge: those at the time of the charge. In
   * other events: those when the session was set up.
   */
  readonly terms?: Terms;
  /** What earlier parts of the same call have used of this tariff; undefined: nothing. */
  readonly used?: TariffUse;
  /** Only for a prepaid session: the key of its hold in the user's balance; undefined: postpaid. */
  readonly hold?: string;
  /** How long the session takes charges after its end (M15); undefined: not at all. */
  readonly lateChargesMs?: number;
  /**
   * How far the wall clock had been set between the relay's start and the session's start (below zero: back);
   * undefined: not at all. Needed to end the session at the right time after the relay was killed.
   */
  readonly clockStepMs?: number;
  /**
   * The session before this one: the part of the same call before the service changed (M20-M22), or the session that
   * the client moved from (M23, M24).
   */
  readonly previous?: { readonly session: string; readonly by: "change" | "move" };
}

/** The relay relayed the client's ACK (M12), or the answer where the service's clock says `answer`. */
export interface SessionStarted extends EventBase {
  readonly type: "session.started";
}

export interface SessionEnded extends EventBase {
  readonly type: "session.ended";
  readonly startedAt: number;
  /** From the relayed ACK to the relayed 200 to BYE; `at` minus `startedAt`. */
  readonly durationMs: number;
  /** Who or what ended it: `client`, `server`, `relay: <why>`. */
  readonly endedBy: string;
}

export interface ChargeMade extends EventBase {
  readonly type: "charge.made";
  readonly charge: Charge;
  /** How the charge came: in an INFO, with BYE or its answer, in a MESSAGE, or directly. */
  readonly channel: "info" | "bye" | "message" | "direct";
}

/**
 * The service changed inside the session, or its app server did (M20-M22): at one instant the clock of the part
 * before stops and that of the new part starts. For the bill each part is a session; `session` is the new one, whose
 * `previous` names the other.
 */
export interface SessionChanged extends EventBase {
  readonly type: "session.changed";
  readonly from: SessionFacts;
  /** When the part before had started, and how long it lasted. */
  readonly startedAt: number;
  readonly durationMs: number;
}

/**
 * The client moved on to a second app server (M23, M24): `session` is the second one, whose `previous` names the first.
 */
export interface SessionMoved extends EventBase {
  readonly type: "session.moved";
  readonly from: SessionFacts;
  /** The first session goes on (M24). */
  readonly kept: boolean;
}

/** An app server's charge was refused; nothing was charged. */
export interface ChargeRefused extends EventBase {
  readonly type: "charge.refused";
  /** The charge's own id, where it could be read. */
  readonly charge?: string;
  readonly reason: string;
}

/**
 * So much of a prepaid balance is held for the session until `until`: for its whole use so far and the next interval.
 */
export interface CreditReserved extends EventBase {
  readonly type: "credit.reserved";
  readonly currency: string;
  /** Exact decimal. */
  readonly amount: string;
  readonly until: number;
}

/**
 * A prepaid balance does not cover the next interval: the session will be ended at `endsAt` unless the balance grows
 * before.
 */
export interface CreditExhausted extends EventBase {
  readonly type: "credit.exhausted";
  readonly currency: string;
  readonly endsAt: number;
}

/** What is free of a balance, and of a credit limit, is less than the operator wants to know of. */
export interface CreditLow extends EventBase {
  readonly type: "credit.low";
  readonly currency: string;
  /** What is free now; exact decimal. */
  readonly free: string;
  /** The setting that it is below; exact decimal. */
  readonly below: string;
}

/**
 * The operator corrects a user's bill. It goes into the store at once, not over the bus. `session` is that of the
 * corrected entry; its id, service and app server are "" where no entry is corrected.
 */
export interface CorrectionMade {
  readonly type: "correction.made";
  readonly id: string;
  readonly at: number;
  readonly session: Pick<SessionFacts, "id" | "user" | "service" | "appServer">;
  readonly currency: string;
  /** Exact decimal; negative: the user gets it back. */
  readonly amount: string;
  readonly reason: string;
  readonly of: "time" | "items";
  /** The terms of the corrected entry; where there is none, those at the time of the correction. */
  readonly terms?: Terms;
  /** The correction goes into the user's balance. */
  readonly prepaid?: true;
  /** Id of the corrected entry. */
  readonly corrects?: string;
}

/** What somebody may want to know, but no bill depends on. */
export type NoticeEvent = SessionMoved | ChargeRefused | CreditReserved | CreditLow | CreditExhausted;

/** Everything that goes through journal and bus. */
export type ChargingEvent = SessionStarted | SessionChanged | SessionEnded | ChargeMade | NoticeEvent;

/** `<session>:started`, `<session>:ended`: a session does each once. */
export const startedId = (session: string): string => `${session}:started`;
export const endedId = (session: string): string => `${session}:ended`;

/**
 * `<session>:charge:<app server>:<charge id>` (decision 9). Neither the relay's session ids nor app server
 * ids have a colon in them, and the app server's own text stands last: two charges never share an id.
 */
export const chargeId = (session: string, appServer: string, charge: string): string =>
  `${session}:charge:${appServer}:${chargeKey(charge)}`;

/** `correction:<the operator's own id>`: the same id corrects once. */
export const correctionId = (id: string): string => `correction:${id}`;

/** `<session>:changed`, with the id of the part that begins: a part begins once. */
export const changedId = (session: string): string => `${session}:changed`;

/** The id that an event must have; undefined for an event that puts nothing on a bill or an account. */
export function idOf(event: ChargingEvent): string | undefined {
  const { session } = event;
  switch (event.type) {
    case "session.started":
      return startedId(session.id);
    case "session.ended":
      return endedId(session.id);
    case "session.changed":
      return changedId(session.id);
    case "charge.made":
      return chargeId(session.id, session.appServer, event.charge.id);
    default:
      return undefined;
  }
}

/** The session's clock began to run at `at` (M12). */
export function sessionStarted(session: SessionFacts, at: number): SessionStarted {
  return { type: "session.started", id: startedId(session.id), at, session };
}

/**
 * The session's clock stopped at `at` (M12). That is by the same timeline as `startedAt`, so the difference is the time
 * that has passed. `endedBy` may be any text.
 */
export function sessionEnded(session: SessionFacts, startedAt: number, at: number, endedBy: string): SessionEnded {
  const durationMs = Math.max(0, at - startedAt);
  const why = asLabel(endedBy, MAX_ENDED_BY).trim() || "relay";
  return { type: "session.ended", id: endedId(session.id), at, session, startedAt, durationMs, endedBy: why };
}

/** The part `from` of a session, which ran since `startedAt`, gave way to `session` at `at` (M20-M22). */
export function sessionChanged(
  session: SessionFacts,
  from: SessionFacts,
  startedAt: number,
  at: number,
): SessionChanged {
  const durationMs = Math.max(0, at - startedAt);
  return { type: "session.changed", id: changedId(session.id), at, session, from, startedAt, durationMs };
}

/** The client moved from `from` to `session` at `at` (M23); `kept`: the first goes on (M24). */
export function sessionMoved(session: SessionFacts, from: SessionFacts, at: number, kept: boolean): SessionMoved {
  return { type: "session.moved", id: `${session.id}:moved`, at, session, from, kept };
}

/** The app server charged something at `at`, and the relay is about to answer for it (M14, M16). */
export function chargeMade(
  session: SessionFacts,
  at: number,
  charge: Charge,
  channel: ChargeMade["channel"],
): ChargeMade {
  return { type: "charge.made", id: chargeId(session.id, session.appServer, charge.id), at, session, charge, channel };
}

/** The `n`th time that the session's hold grew: `amount` (exact decimal) is held in all, until `until`. */
export function creditReserved(
  session: SessionFacts,
  at: number,
  n: number,
  held: Pick<CreditReserved, "currency" | "amount" | "until">,
): CreditReserved {
  return { type: "credit.reserved", id: `${session.id}:reserved:${n}`, at, session, ...held };
}

/** The session's holds have brought what is free below the operator's mark. `n` counts its notices. */
export function creditLow(
  session: SessionFacts,
  at: number,
  n: number,
  rest: Pick<CreditLow, "currency" | "free" | "below">,
): CreditLow {
  return { type: "credit.low", id: `${session.id}:low:${n}`, at, session, ...rest };
}

/**
 * The `n`th time that the balance could not be held for the session's next interval: its money is used up at `endsAt`.
 */
export function creditExhausted(
  session: SessionFacts,
  at: number,
  n: number,
  rest: Pick<CreditExhausted, "currency" | "endsAt">,
): CreditExhausted {
  return { type: "credit.exhausted", id: `${session.id}:exhausted:${n}`, at, session, ...rest };
}

/** The `n`th time that charges of the session's app server were refused at this node, for `reason`. */
export function chargeRefused(
  session: SessionFacts,
  at: number,
  n: number,
  reason: string,
  charge?: string,
): ChargeRefused {
  const id = `${session.id}:refused:${at}:${n}`;
  return { type: "charge.refused", id, at, session, ...(charge !== undefined && { charge }), reason };
}

/**
 * What an event means for accounts: a change of service is the end of one part and the start of another; a notice
 * means nothing.
 */
export function accountEvents(event: ChargingEvent): (SessionStarted | SessionEnded | ChargeMade)[] {
  switch (event.type) {
    case "session.changed":
      return [
        sessionEnded(event.from, event.startedAt, event.startedAt + event.durationMs, "change"),
        sessionStarted(event.session, event.at),
      ];
    case "session.moved":
    case "charge.refused":
    case "credit.reserved":
    case "credit.low":
    case "credit.exhausted":
      return [];
    default:
      return [event]; // also an unknown type from the bus: billing reports it
  }
}
