import type { Logger } from "../support/log.ts";
import type { ChangeOptions, ServiceChange } from "./changes.ts";
import type { Ending } from "./dialog.ts";
import type { Description } from "./session-description.ts";

export interface ClientOptions {
  /** Where the relay takes SIP over TCP: `sip:127.0.0.1:5060;transport=tcp`. */
  readonly relay: string;
  readonly user: string;
  readonly password: string;
  /** Domain of the portal, in the Request-URI and in From. Default: the relay's host. */
  readonly domain?: string;
  readonly logger?: Logger;
  /**
   * Takes a session that the app server of another has brought about, by sending the client on to a partner (M23).
   * Without it the client goes nowhere but where it asks.
   */
  readonly onSession?: (session: ClientSession, from: ClientSession) => void;
}

export interface Client {
  /**
   * Asks for a service, `wine` or a whole URI `sip:wine@portal.com`, and resolves when it has accepted. Rejects with
   * a `SipError`: the status of the refusal, 503 where the relay cannot be reached or the connection breaks, 487
   * where the request was given up.
   */
  request(service: string, options?: ServiceRequestOptions): Promise<ClientSession>;
  /**
   * The same of a service that several app servers may accept at once (M25, `fork: all`): each success is a session
   * of its own, with its own end. Resolves with at least one: as soon as there are `max`, else `waitMs` after the
   * first. Later ones go to `onSession`, or are acknowledged and hung up. Where the client wants one only, `request`
   * takes the first and hangs up the others.
   */
  requestAll(service: string, options?: RequestAllOptions): Promise<ClientSession[]>;
  /** Ends every session, then the connection. Afterwards a request is refused. */
  close(): Promise<void>;
}

export interface ServiceRequestOptions {
  /** What is wanted in more detail (M1): the body of the INVITE. */
  readonly description?: string;
  /** Default `application/vnd.tollgate.service+xml`. */
  readonly contentType?: string;
  /** Headers of one's own, such as `Subject`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Aborting gives the request up (CANCEL). */
  readonly signal?: AbortSignal;
  /** Told of each provisional answer, such as 180 Ringing. */
  readonly onProgress?: (status: number, reason: string) => void;
}

export interface RequestAllOptions extends ServiceRequestOptions {
  /**
   * Sessions wanted: with the last of them the wait is over, and what comes then is hung up. Default 50, as many as a
   * relay asks (`limits.branches`).
   */
  readonly max?: number;
  /** How long to wait for further successes after the first one. Default 2000. */
  readonly waitMs?: number;
  /** Told of every success as it comes, also after `waitMs`, for as long as the INVITE takes any: 32 s. */
  readonly onSession?: (session: ClientSession) => void;
}

/** A session as the client sees it. */
export interface ClientSession {
  /** Call-ID: the same for all sessions of one `requestAll`. */
  readonly id: string;
  /** Follows a change. */
  readonly service: string;
  /** URL under which the service is reached (M6), where the app server gave one. Follows a change. */
  readonly access: string | undefined;
  /** Body of the answer as it came. */
  readonly answer: Description | undefined;
  /** Resolves once, however the session ends; never rejects. */
  readonly ended: Promise<Ending>;
  /**
   * Moves on to another service (M23), by REFER: resolves when there is a session with it. This one then ends, or
   * goes on: by `keep`, else as the relay has it for its service (M24). Rejects with a `SipError` where it came to
   * nothing; this session then goes on.
   */
  move(service: string, options?: MoveOptions): Promise<ClientSession>;
  /**
   * Changes to another service within this session (M20), at this app server or another (M21): `beer`, or a
   * description of which the relay's rules make a service. Resolves when it stands; `service`, `access` and `answer`
   * are then the new ones. Rejects with a `SipError` where it is refused, 491 where another change is under way; the
   * session then goes on as it was.
   */
  change(to: string | ServiceChange, options?: ChangeOptions): Promise<void>;
  /**
   * Decides when the app server asks for another service (M22). Without it every one is accepted. A handler that
   * throws refuses with 500.
   */
  onChange(handler: (request: ServerChange) => unknown): void;
  /** Hangs up; resolves when the answer to BYE is there. */
  end(): Promise<Ending>;
}

export interface MoveOptions
  extends Pick<ServiceRequestOptions, "description" | "contentType" | "headers" | "onProgress"> {
  readonly keep?: boolean;
}

/**
 * What the app server wants to change the session to (M22): open until `accept`, `refuse`, or the app server's giving
 * up.
 */
export interface ServerChange {
  /** The service, as the relay will charge it. */
  readonly service: string;
  readonly description: Description | undefined;
  /** First value of a header of the request. */
  header(name: string): string | undefined;
  readonly signal: AbortSignal;
  /** Resolves when the change stands. Rejects with a `SipError` where it does not come to that. */
  accept(): Promise<void>;
  /** Final answer of 400 to 699. */
  refuse(status: number, reason?: string): void;
}
