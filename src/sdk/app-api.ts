import type { ChangeOptions, ServiceChange } from "./changes.ts";
import type { Ending } from "./dialog.ts";
import type { Acceptance, Description } from "./session-description.ts";

/** One charge for the user of a session. */
export interface ChargeInput {
  /**
   * An id of your own, up to 128 characters. A session is charged once for an id, so you can send a charge again when
   * you do not know what became of it. Default: a random one.
   */
  readonly id?: string;
  /** What the bill says, up to 200 characters. */
  readonly item: string;
  /**
   * Price of one, in `currency`: a decimal with up to 12 digits before and 6 after the point, "24.50". A string,
   * because floats are not exact.
   */
  readonly unitPrice: string;
  /**
   * How many: above 0, with up to 6 digits after the point. Whole numbers may be given as a number; "0.75" needs a
   * string. Default "1".
   */
  readonly quantity?: string | number;
  /** ISO 4217 code, "EUR": the currency of the session's tariff, or of the service's limits. */
  readonly currency: string;
}

/**
 * Called when the client hangs up. The charges that it returns, or resolves with, go into the 200 to BYE. A callback
 * that throws, rejects or takes longer than 5 s charges nothing, and the logger is told. The app server does not learn
 * whether the relay took the charges, since nothing answers a 200.
 */
export type EndCallback = () => readonly ChargeInput[] | undefined | Promise<readonly ChargeInput[] | undefined>;

/** How the client is sent on. */
export interface ReferOptions {
  /** Whether this session goes on beside the new one. Default: what the operator has set for the service (`onMove`). */
  readonly keep?: boolean;
}

/** A session as the app server sees it. */
export interface AppSession {
  /** Call-ID of the dialog with the relay (RFC 3261 §20.8). */
  readonly id: string;
  /**
   * The relay's name for the session, from its Tollgate-Session header: give it to `ChargeClient.charge`. It is a new
   * one after a change. Undefined where no relay has sent the header.
   */
  readonly tollgateSession: string | undefined;
  /** Id of the service, `wine`: after a change the new one. */
  readonly service: string;
  /** Who the client is, as in `ServiceRequest.user`: `sip:alice@portal.example`. */
  readonly user: string | undefined;
  /**
   * Charges the user: by one INFO, or, after the session's end, by one MESSAGE where `AppServerOptions.charging` is
   * set. All charges are made, or none. Resolves with the charges' ids when the relay has them on disk. Rejects with a
   * `SipError` where none was made: 400 for what cannot be read, 403 for what may not be charged (limits, currency, an
   * id with other terms), 410 when the time for late charges is over, 481 after the end without `charging`. With 408,
   * 500 or 503 it is not known whether they were made: the same charges with the same ids may be sent again. Rejects
   * with a `TypeError` where a price is not a string.
   */
  charge(...charges: readonly ChargeInput[]): Promise<string[]>;
  /**
   * Sends the client on to a partner by REFER (RFC 3515): `to` is a service of the portal, `sip:beer@portal.example`,
   * or the partner's own `sip:beer@10.0.0.7:5080`. Resolves when the client has a session there. Rejects with a
   * `SipError` where this fails, and this session goes on: 403 where the operator does not allow it (`mayReferTo`), 481
   * where this session is over, 491 where another move is under way, or else the status with which the move failed.
   * Rejects with a `TypeError` where `to` is not a SIP URI.
   */
  refer(to: string, options?: ReferOptions): Promise<void>;
  /**
   * Changes to another service of this server, if the client agrees. `to` is the service's id, `beer`, or a description
   * from which the relay's rules find the service. Resolves when the change is made: `service` and `tollgateSession`
   * are then the new ones. Rejects with a `SipError` where it fails, and the session goes on as it was: 403 where this
   * server does not offer the service, 481 where the session is over, 487 where the change was given up, 491 where
   * another change is under way, or else the client's refusal.
   */
  change(to: string | ServiceChange, options?: ChangeOptions): Promise<void>;
  /**
   * Sets who decides when the client asks this server for another service within this session. The request's `accept`
   * then resolves with this same session. Without such a handler, the one in `AppServerOptions.services` for that
   * service decides; where there is none, the answer is 488. A handler that throws refuses with 500.
   */
  onChange(handler: ServiceHandler): void;
  /** Hangs up. Resolves when the answer to BYE has come, or when none can come any more (after 32 s); never rejects. */
  end(): Promise<Ending>;
  /**
   * Registers a callback that adds charges when the client hangs up. Register it as soon as you have the session. The
   * callback is not called where this side hangs up.
   */
  onEnd(callback: EndCallback): void;
  /** Resolves once, however the session ends; never rejects. */
  readonly ended: Promise<Ending>;
}

/**
 * Decides on a request by calling its `accept` or `refuse`, at once or later. After 180 s without a decision the answer
 * is 480 (for an UPDATE: 504 after 5 s). Where the handler throws or rejects, the error is printed, or goes to the
 * logger; the answer is 500, or, where the session stands already, it is ended with a BYE that has 500 as its Reason.
 */
export type ServiceHandler = (request: ServiceRequest) => unknown;

/** A request for a service, or for another one within a session. */
export interface ServiceRequest {
  /** Id of the service, `wine`. */
  readonly service: string;
  /**
   * Who asks, as the relay vouches for it: by its signature (see `proof`), or by P-Asserted-Identity (RFC 3325).
   * Undefined where nobody vouches, for instance without a relay in front of the server. Never taken from From, in
   * which a client may write what it likes.
   */
  readonly user: string | undefined;
  /** The client's description of what it wants: the body of the request; undefined where there is none. */
  readonly description: Description | undefined;
  /**
   * What a rule of the relay says of the request (its Tollgate-Attributes header). Names are in lower case. Empty where
   * the relay sent none.
   */
  readonly attributes: Readonly<Record<string, string>>;
  /** What a rule of the relay says of the client (its Tollgate-Client header), likewise. */
  readonly client: Readonly<Record<string, string>>;
  /** First value of the request's header field `name`, in upper or lower case; undefined where there is none. */
  header(name: string): string | undefined;
  /** Aborted when the request was given up (CANCEL) before it was decided. */
  readonly signal: AbortSignal;
  /**
   * Answers 200. Resolves when the ACK has come and the session is established, or, for a change, when it is made.
   * Rejects with a `SipError`: 487 where the request was decided or given up before, 408 where no ACK came.
   */
  accept(acceptance?: Acceptance): Promise<AppSession>;
  /**
   * Gives a final answer of 300 to 699 (400 to 699 within a session), for instance 486 "Busy Here". `reason` is one
   * line; default: the usual text of the status. Does nothing where the request was decided before. Throws a
   * `RangeError` for any other status, and a `TypeError` for a reason of several lines.
   */
  refuse(status: number, reason?: string): void;
}
