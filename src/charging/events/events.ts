import type { Tariff, TariffUse } from "../money/tariff.ts";
import type { Terms } from "../money/terms.ts";
import { type Charge, chargeKey } from "./charge-fields.ts";
import { asLabel } from "./field-checks.ts";

/** Of what ended a session, in characters; `asLabel` brings it to that. */
export const MAX_ENDED_BY = 200;

/**
 * What money depends on. Every event is self-contained (who, what, which terms), so that the bill comes out the same
 * when events arrive twice or out of order, and can be made again from the events alone (decisions 8 and
 * 9).
 */
interface EventBase {
  /** Unique for what happened, the same for a repetition; made by the constructors below. */
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
  /** The terms at that time; undefined: time costs nothing. */
  readonly tariff?: Tariff;
  /**
   * Taxes and what is agreed with the app server: of a charge at the time of the charge, else when it was set up;
   * undefined: none.
   */
  readonly terms?: Terms;
  /** Of this tariff, what earlier parts of the same call have used; undefined: nothing. */
  readonly used?: TariffUse;
  /** A prepaid session: the key of what is held for it in the user's balance; undefined: postpaid. */
  readonly hold?: string;
  /** How long it takes charges after its end (M15); undefined: not at all. */
  readonly lateChargesMs?: number;
  /**
   * How far the wall clock had been set, since the relay began, when the session's times began (below zero: back);
   * undefined: not at all. By it the session ends at the right time where the relay is killed.
   */
  readonly clockStepMs?: number;
  /**
   * What it comes from: the part of the same call before the service changed (M20-M22), or the session it was moved
   * from (M23, M24).
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
  /** How it came: INFO, body of the answer to BYE, or directly. */
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

/** Of a prepaid balance, so much is held for the session until `until`: its whole use so far and the next interval. */
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

/**
 * The operator puts something right on a user's bill. It goes into the store at once, not over the bus. `session` is
 * whose entry it corrects; its id, service and app server are "" where it corrects none.
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
  /** Those of the entry that it puts right; where it names none, those of the time at which it is made. */
  readonly terms?: Terms;
  /** It goes into the user's balance. */
  readonly prepaid?: true;
  /** Id of the entry that it puts right. */
  readonly corrects?: string;
}

/** What somebody may want to know, and no bill depends on. */
export type NoticeEvent = SessionMoved | ChargeRefused | CreditReserved | CreditExhausted;

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

/** `<session>:changed`, by the part that begins: one begins once. */
export const changedId = (session: string): string => `${session}:changed`;

/** The id that an event has which puts something on a bill or an account; undefined: it does not. */
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
 * The session's clock stopped at `at` (M12), by the same timeline as `startedAt`: what is between has passed.
 * `endedBy` may be any text.
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
    case "credit.exhausted":
      return [];
    default:
      return [event]; // also what came over the bus and is none of these: who bills it says so
  }
}
