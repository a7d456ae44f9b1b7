import type { Tariff } from "./tariff.ts";

/**
 * What money depends on. Every event is self-contained (who, what, which terms), so that the bill comes out the same when
 * events arrive twice or out of order, and can be made again from the events alone (DESIGN.md, decisions 8 and 9).
 */
interface EventBase {
  /** Unique for what happened, the same for a repetition: `<sessionId>:started`, `<sessionId>:charge:<chargeId>`. */
  readonly id: string;
  /** When it happened, milliseconds since 1970. */
  readonly at: number;
  readonly session: SessionFacts;
}

/** What is fixed for a session when it is set up. */
export interface SessionFacts {
  readonly id: string;
  readonly user: string;
  readonly service: string;
  readonly appServer: string;
  /** Correlation id of both SIP legs and of all sessions of one client request. */
  readonly call: string;
  /** The terms at that time; undefined: time costs nothing. */
  readonly tariff?: Tariff;
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

/** One thing that the app server charges (M14-M18). Amounts are decimal strings. */
export interface Charge {
  /** The app server's own id: the same id within a session charges once. */
  readonly id: string;
  readonly item: string;
  readonly unitPrice: string;
  /** Decimal string too ("0.75" kg); default "1". */
  readonly quantity: string;
  readonly currency: string;
}

export interface ChargeMade extends EventBase {
  readonly type: "charge.made";
  readonly charge: Charge;
  /** How it came: INFO, body of the answer to BYE, or directly. */
  readonly channel: "info" | "bye" | "message" | "direct";
}

export type ChargingEvent = SessionStarted | SessionEnded | ChargeMade;
