import type { Logger } from "../support/log.ts";
import type { ChangeOptions, ServiceChange } from "./changes.ts";
import type { Ending } from "./dialog.ts";
import type { Description } from "./session-description.ts";
import type { TlsTrust } from "./tcp-connection.ts";

/** Who a client is, and where its relay is. */
export interface ClientOptions extends SipClientOptions {
  /**
   * Where the relay takes SIP over TCP or TLS: `sip:127.0.0.1:5060;transport=tcp`, `sips:portal.example`. Default port:
   * 5060, by TLS 5061. Several: the nodes of a cluster, which are tried one after the other.
   */
  readonly relay: string | readonly string[];
  /**
   * Whom to believe by TLS. Default: the authorities that Node brings. The certificate must be for the relay's host.
   */
  readonly tls?: TlsTrust;
}

/** Who a client in a browser is, and where its relay is. */
export interface BrowserClientOptions extends SipClientOptions {
  /**
   * Where the relay takes SIP over WebSocket: `wss://portal.example:8443`. Several: the nodes of a cluster, which are
   * tried one after the other.
   */
  readonly relay: string | readonly string[];
}

/** Who a client is. */
export interface SipClientOptions {
  /**
   * For how many seconds a lost connection is made again while there are sessions; they go on then. Default: 90. 0:
   * sessions end with their connection.
   */
  readonly reconnectS?: number;
  /** Id of the user, `alice`. */
  readonly user: string;
  /** Never sent as it is: only digests of it are sent (RFC 7616). */
  readonly password: string;
  /** Domain of the portal, in the Request-URI and in From. Default: the relay's host. */
  readonly domain?: string;
  /** Gets lines about what SIP.js does, and about handlers that failed. Default: the latter are printed. */
  readonly logger?: Logger;
  /**
   * Called with a new session when an app server has sent the client on to a partner; `from` is the session with that
   * app server. Without this callback the client goes only where it asks to go: such an INVITE gets 603.
   */
  readonly onSession?: (session: ClientSession, from: ClientSession) => void;
}

/** A user's way to the relay. */
export interface Client {
  /**
   * Asks for a service, `wine` or a whole URI `sip:wine@portal.example`, and resolves when an app server has accepted.
   * Rejects with a `SipError`: the status of the refusal, 401 for a wrong user or password, 503 where the relay cannot
   * be reached or the connection breaks, 487 where the request was given up. Where several app servers accept, the
   * client takes the first and hangs up on the others.
   */
  request(service: string, options?: ServiceRequestOptions): Promise<ClientSession>;
  /**
   * Asks for a service that several app servers may accept at once (`fork: all`). Each success is a session of its own,
   * which ends by itself. Resolves with at least one session: as soon as there are `max`, or else `waitMs` after the
   * first. Later ones go to `onSession`; without it they are acknowledged and hung up. Rejects like `request` where
   * nobody accepts.
   */
  requestAll(service: string, options?: RequestAllOptions): Promise<ClientSession[]>;
  /**
   * Gives up requests under way, ends every session, and closes the connection after 2 s at the latest. After that,
   * every request rejects with 503.
   */
  close(): Promise<void>;
}

/** What a request may say besides the service. */
export interface ServiceRequestOptions {
  /** The body of the INVITE: says in more detail what is wanted. Default: none. */
  readonly description?: string;
  /** Media type of `description`. Default `application/vnd.tollgate.service+xml`. */
  readonly contentType?: string;
  /** Header fields of your own, such as `Subject`. The relay passes on only some of them. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Aborting gives the request up (CANCEL), and the request rejects with 487. */
  readonly signal?: AbortSignal;
  /** Called for each provisional answer, such as 180 "Ringing". */
  readonly onProgress?: (status: number, reason: string) => void;
}

/** How many sessions are wanted, and how long they are waited for. */
export interface RequestAllOptions extends ServiceRequestOptions {
  /**
   * How many sessions are wanted. Once there are so many, the wait is over, and later ones are hung up. Default 50, as
   * many app servers as a relay asks (`limits.branches`).
   */
  readonly max?: number;
  /** How long to wait for further successes after the first one, in milliseconds. Default 2000. */
  readonly waitMs?: number;
  /** Called for every success as it comes, also after `waitMs`, for as long as the INVITE takes answers (32 s). */
  readonly onSession?: (session: ClientSession) => void;
}

/** A session as the client sees it. */
export interface ClientSession {
  /** Call-ID: the same for all sessions of one `requestAll`. */
  readonly id: string;
  /** Id of the service, `wine`: after a change the new one. */
  readonly service: string;
  /** URL under which the service is reached, where the app server gave one. The new one after a change. */
  readonly access: string | undefined;
  /** Body of the app server's answer as it came; undefined where it had none. The new one after a change. */
  readonly answer: Description | undefined;
  /** Resolves once, however the session ends; never rejects. */
  readonly ended: Promise<Ending>;
  /**
   * Moves on to another service, by REFER (RFC 3515). Resolves when there is a session with that service. Whether this
   * session then ends or goes on, `keep` says, or else what the operator has set for its service. Rejects with a
   * `SipError` where the move fails, and this session goes on: 481 where this session is over, 491 where another move
   * is under way, or else the status with which the move failed.
   */
  move(service: string, options?: MoveOptions): Promise<ClientSession>;
  /**
   * Changes to another service within this session, at this app server or another. `to` is the service's id, `beer`, or
   * a description from which the relay's rules find the service. Resolves when the change is made; `service`, `access`
   * and `answer` are then the new ones. Rejects with a `SipError` where it fails, and the session goes on as it was:
   * the status of the refusal, 487 where the change was given up, 491 where another change is under way. With 481 there
   * is no session any more.
   */
  change(to: string | ServiceChange, options?: ChangeOptions): Promise<void>;
  /**
   * Sets who decides when the app server asks for another service. Without a handler, every change is accepted. A
   * handler that throws refuses with 500.
   */
  onChange(handler: (request: ServerChange) => unknown): void;
  /** Hangs up. Resolves when the answer to BYE has come, or when none can come any more (after 32 s); never rejects. */
  end(): Promise<Ending>;
}

/** What a move may say besides the service. */
export interface MoveOptions
  extends Pick<ServiceRequestOptions, "description" | "contentType" | "headers" | "onProgress"> {
  /**
   * Whether the first session goes on beside the second. Default: what the operator has set for the first one's service
   * (`onMove`).
   */
  readonly keep?: boolean;
}

/**
 * What the app server wants to change the session to. Open until `accept` or `refuse`, or until the app server gives
 * up.
 */
export interface ServerChange {
  /** Id of the service, as the relay will charge it. */
  readonly service: string;
  /** The body of the app server's request; undefined where there is none. */
  readonly description: Description | undefined;
  /** First value of the request's header field `name`, in upper or lower case; undefined where there is none. */
  header(name: string): string | undefined;
  /** Aborted when the app server gave the change up, or when it was not decided within 180 s (5 s for an UPDATE). */
  readonly signal: AbortSignal;
  /**
   * Resolves when the change is made. Rejects with a `SipError`: 487 where it was decided or given up before, 408 where
   * no ACK came.
   */
  accept(): Promise<void>;
  /**
   * Gives a final answer of 400 to 699; `reason` is one line. Does nothing where the change was decided before. Throws
   * for any other status.
   */
  refuse(status: number, reason?: string): void;
}
