import type { ChangeOptions, ServiceChange } from "./changes.ts";
import type { Ending } from "./dialog.ts";
import type { Acceptance, Description } from "./session-description.ts";

/** One charge for the user of a session. */
export interface ChargeInput {
  /**
   * Of your own, up to 128 characters. The same id charges once in a session, so that a charge can be sent again when
   * it is not known what became of it. Default: a random one.
   */
  readonly id?: string;
  /** What the bill says, up to 200 characters. */
  readonly item: string;
  /**
   * Price of one, in `currency`: a decimal with up to 12 digits before and 6 behind the point, "24.50". A string, since
   * no float is exact.
   */
  readonly unitPrice: string;
  /**
   * How many: above 0, up to 6 digits behind the point. A number only where it is whole; "0.75" as a string. Default
   * "1".
   */
  readonly quantity?: string | number;
  /** ISO 4217, "EUR": that of the session's tariff, or of the service's limits. */
  readonly currency: string;
}

/**
 * Called when the client hangs up. The charges that it returns, or resolves with, go into the 200 to BYE. One that
 * throws, rejects or takes longer than 5 s charges nothing, and the logger hears of it. Nobody hears whether the relay
 * took them.
 */
export type EndCallback = () => readonly ChargeInput[] | undefined | Promise<readonly ChargeInput[] | undefined>;

/** How the client is sent on. */
export interface ReferOptions {
  /** Whether this session goes on beside the new one. Default: as the operator has it for the service (`onMove`). */
  readonly keep?: boolean;
}

/** A session as the app server sees it. */
export interface AppSession {
  /** Call-ID of the dialog with the relay (RFC 3261 §20.8). */
  readonly id: string;
  /**
   * What the relay calls the session (its Tollgate-Session header): for `ChargeClient.charge`. Another one after a
   * change; undefined where no relay has said it.
   */
  readonly tollgateSession: string | undefined;
  /** Id of the service, `wine`: after a change the new one. */
  readonly service: string;
  /** Who the client is, as in `ServiceRequest.user`: `sip:alice@portal.example`. */
  readonly user: string | undefined;
  /**
   * Charges the user: by one INFO, or after the session's end by one MESSAGE, where `AppServerOptions.charging` is set.
   * All or none. Resolves with the charges' ids when the relay has them on disk. Rejects with a `SipError` where none
   * was made: 400 for what cannot be read, 403 for what may not be charged (limits, currency, an id with other terms),
   * 410 when the time for late charges is over, 481 after the end without `charging`. With 408, 500 or 503 it is not
   * known yet: the same charges with the same ids may be sent again.
   */
  charge(...charges: readonly ChargeInput[]): Promise<string[]>;
  /**
   * Sends the client on to a partner by REFER (RFC 3515): `to` is a service of the portal, `sip:beer@portal.example`,
   * or the partner's own `sip:beer@10.0.0.7:5080`. Resolves when the client has a session there. Rejects with a
   * `SipError`, and this session goes on: 403 where the operator does not allow it (`mayReferTo`), 481 where this
   * session is over, 491 where another is under way, else why it came to nothing. A `TypeError` where `to` is no SIP
   * URI.
   */
  refer(to: string, options?: ReferOptions): Promise<void>;
  /**
   * Changes to another service that this server offers as well, when the client agrees: its id, `beer`, or a
   * description of which the relay's rules make a service. Resolves when it stands: `service` and `tollgateSession` are
   * then the new ones. Rejects with a `SipError`, and the session goes on as it was: 403 where this server does not
   * offer it, 481 where the session is over, 487 where it was given up, 491 where another change is under way, or the
   * client's refusal.
   */
  change(to: string | ServiceChange, options?: ChangeOptions): Promise<void>;
  /**
   * Decides when the client asks this server for another service within this session; the request's `accept` gives this
   * same session. Without it the handler in `AppServerOptions.services` for that service decides, and where there is
   * none the answer is 488. One that throws refuses with 500.
   */
  onChange(handler: ServiceHandler): void;
  /** Hangs up. Resolves when the answer to BYE is there, or none is to be expected any more (32 s); never rejects. */
  end(): Promise<Ending>;
  /**
   * Adds to what is charged when the client hangs up. To be called as soon as the session stands; not called where this
   * side hangs up.
   */
  onEnd(callback: EndCallback): void;
  /** Resolves once, however the session ends; never rejects. */
  readonly ended: Promise<Ending>;
}

/**
 * Decides on a request by its `accept` or `refuse`, at once or later: after 180 s the answer is 480 (5 s and 504 for an
 * UPDATE). One that throws or rejects before it has decided is answered with 500.
 */
export type ServiceHandler = (request: ServiceRequest) => unknown;

/** A request for a service, or for another one within a session. */
export interface ServiceRequest {
  /** Id of the service, `wine`. */
  readonly service: string;
  /**
   * Who asks, as the relay vouches for it: by its signature (see `proof`), or by P-Asserted-Identity (RFC 3325).
   * Undefined: nobody vouches for anybody, as where no relay stands before the server. Never From, in which a client
   * may write what it likes.
   */
  readonly user: string | undefined;
  /** The client's description of what it wants: the body of the request; undefined where there is none. */
  readonly description: Description | undefined;
  /**
   * What a rule of the relay has said of the request (its Tollgate-Attributes header). Names are in lower case; empty
   * where it said nothing.
   */
  readonly attributes: Readonly<Record<string, string>>;
  /** The same of the client (Tollgate-Client). */
  readonly client: Readonly<Record<string, string>>;
  /** First value of that header field of the request, its name in any case; undefined where there is none. */
  header(name: string): string | undefined;
  /** Aborted when the request was given up (CANCEL) before it was decided. */
  readonly signal: AbortSignal;
  /**
   * Answers 200. Resolves when the session stands (with the ACK), or the change of the one that there is. Rejects with
   * a `SipError`: 487 where the request was decided or given up before, 408 where no ACK came.
   */
  accept(acceptance?: Acceptance): Promise<AppSession>;
  /**
   * Final answer of 300 to 699 (400 to 699 within a session), for instance 486 "Busy Here"; `reason` is one line, by
   * default the status's own. Does nothing where the request was decided before. Throws a `RangeError` or `TypeError`
   * for any other status, or more than a line.
   */
  refuse(status: number, reason?: string): void;
}
