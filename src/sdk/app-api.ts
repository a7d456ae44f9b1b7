import type { ChangeOptions, ServiceChange } from "./changes.ts";
import type { Ending } from "./dialog.ts";
import type { Acceptance, Description } from "./session-description.ts";

/**
 * What the app server charges (M14). An id of one's own makes it safe to send a charge again: the same id charges
 * once in a session.
 */
export interface ChargeInput {
  readonly id?: string;
  readonly item: string;
  /** Decimal string, "24.50": never a float. */
  readonly unitPrice: string;
  /** Default "1". */
  readonly quantity?: string | number;
  /** ISO 4217. */
  readonly currency: string;
}

/**
 * Called when the client hangs up; the charges that it returns go into the body of the 200 to BYE (M16). It has 5
 * seconds.
 */
export type EndCallback = () => readonly ChargeInput[] | undefined | Promise<readonly ChargeInput[] | undefined>;

export interface ReferOptions {
  /** Whether this session goes on beside the new one (M24); default: as the relay has it for the service. */
  readonly keep?: boolean;
}

/** A session as the app server sees it. */
export interface AppSession {
  /** Call-ID of the relay's leg. */
  readonly id: string;
  /**
   * What the relay calls the session (its Tollgate-Session header): charges by HTTPS name it. Another one after a
   * change.
   */
  readonly tollgateSession: string | undefined;
  /** Follows a change. */
  readonly service: string;
  /** Identity of the subscriber, `sip:alice@portal.com`, as the relay vouches for it; undefined: it does not. */
  readonly user: string | undefined;
  /**
   * Reports charges in one INFO (M14), or after the session's end in one MESSAGE (M15; `AppServerOptions.charging`),
   * and resolves with their ids when the relay has recorded them. Rejects with a `SipError`: none of them was
   * charged.
   */
  charge(...charges: readonly ChargeInput[]): Promise<string[]>;
  /**
   * Sends the client on to a partner by REFER (M23), a service of the portal or the partner's own
   * `sip:beer@10.0.0.7:5080`, and resolves when it has a session there. Rejects with a `SipError`: 403 where the
   * operator does not allow it, or why it came to nothing; this session then goes on.
   */
  refer(to: string, options?: ReferOptions): Promise<void>;
  /**
   * Changes to another service that this server offers as well (M22), when the client agrees: `beer`, or a
   * description of which the relay's rules make a service. Resolves when it stands. Rejects with a `SipError`: 403
   * where this server does not offer it, 491 where another change is under way, or the client's refusal; the session
   * then goes on as it was.
   */
  change(to: string | ServiceChange, options?: ChangeOptions): Promise<void>;
  /**
   * Decides when the client asks this server for another service within this session (M20); its `accept` gives this
   * same session. Without it, whoever is registered for that service at this server decides as about a new session,
   * and nobody: 488. One that throws refuses with 500.
   */
  onChange(handler: ServiceHandler): void;
  /** Hangs up (M11); resolves when the answer to BYE is there. */
  end(): Promise<Ending>;
  /**
   * Registers what is to be charged at the end when the client hangs up: to be called as soon as the session stands.
   */
  onEnd(callback: EndCallback): void;
  /** Resolves once, however the session ends; never rejects. */
  readonly ended: Promise<Ending>;
}

/** Decides by `accept` or `refuse`, at once or later; one that throws is answered with 500. */
export type ServiceHandler = (request: ServiceRequest) => unknown;

/** A request for a service (M5), or for another one within a session (M20). */
export interface ServiceRequest {
  readonly service: string;
  /**
   * Who asks, as the relay vouches for it: by its signature (see `proof`), or by P-Asserted-Identity (RFC 3325).
   * Undefined: nobody vouches for anybody, as where no relay stands before the server. Never From, in which a client
   * may write what it likes.
   */
  readonly user: string | undefined;
  /** The client's description of what it wants (M1). */
  readonly description: Description | undefined;
  /** What a rule of the relay has said of the request, and of the client (M3). Names are lower-case. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly client: Readonly<Record<string, string>>;
  /** First value of a header of the request. */
  header(name: string): string | undefined;
  /** Aborted when the request was given up (CANCEL) before it was decided. */
  readonly signal: AbortSignal;
  /**
   * Resolves when the session stands (ACK), or the change of the one that there is. Rejects with a `SipError` where
   * it does not come to that.
   */
  accept(acceptance?: Acceptance): Promise<AppSession>;
  /** Final answer of 300 to 699 (400 to 699 within a session), for instance 486 "Busy Here". */
  refuse(status: number, reason?: string): void;
}
