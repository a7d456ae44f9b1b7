import type { Logger } from "../support/log.ts";
import type { ChangeOptions, ServiceChange } from "./changes.ts";
import type { Ending } from "./dialog.ts";
import type { Description } from "./session-description.ts";

/** Who a client is, and where its relay is. */
export interface ClientOptions {
  /** Where the relay takes SIP over TCP: `sip:127.0.0.1:5060;transport=tcp`. Port 5060 where it names none. */
  readonly relay: string;
  /** Id of the user, `alice`. */
  readonly user: string;
  /** Never sent: digests of it are (RFC 7616). */
  readonly password: string;
  /** Domain of the portal, in the Request-URI and in From. Default: the relay's host. */
  readonly domain?: string;
  /** Is told what SIP.js does, and of handlers that failed. Default: nobody is. */
  readonly logger?: Logger;
  /**
   * Takes a session that an app server has brought about by sending the client on to a partner; `from` is the session
   * with that app server. Without it the client goes nowhere but where it asks: such an INVITE gets 603.
   */
  readonly onSession?: (session: ClientSession, from: ClientSession) => void;
}

/** A user's way to the relay. */
export interface Client {
  /**
   * Asks for a service, `wine` or a whole URI `sip:wine@portal.example`, and resolves when an app server has accepted.
   * Rejects with a `SipError`: the status of the refusal, 401 for a wrong user or password, 503 where the relay cannot
   * be reached or the connection breaks, 487 where the request was given up. Of several successes it takes the first,
   * and hangs up the others.
   */
  request(service: string, options?: ServiceRequestOptions): Promise<ClientSession>;
  /**
   * The same of a service that several app servers may accept at once (`fork: all`): each success is a session of its
   * own, with its own end. Resolves with at least one: as soon as there are `max`, else `waitMs` after the first. Later
   * ones go to `onSession`, or are acknowledged and hung up. Rejects as `request` does where there is none.
   */
  requestAll(service: string, options?: RequestAllOptions): Promise<ClientSession[]>;
  /**
   * Gives up requests under way, ends every session, then the connection: after 2 s at the latest. Afterwards a request
   * rejects with 503.
   */
  close(): Promise<void>;
}

/** What else a request may say. */
export interface ServiceRequestOptions {
  /** What is wanted in more detail: the body of the INVITE. Default: none. */
  readonly description?: string;
  /** Media type of `description`. Default `application/vnd.tollgate.service+xml`. */
  readonly contentType?: string;
  /** Header fields of your own, such as `Subject`. The relay lets some pass and others not. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Aborting gives the request up (CANCEL); it then rejects with 487. */
  readonly signal?: AbortSignal;
  /** Told of each provisional answer, such as 180 "Ringing". */
  readonly onProgress?: (status: number, reason: string) => void;
}

/** How many sessions are wanted, and how long they are waited for. */
export interface RequestAllOptions extends ServiceRequestOptions {
  /**
   * Sessions wanted: with the last of them the wait is over, and what comes then is hung up. Default 50, as many as a
   * relay asks (`limits.branches`).
   */
  readonly max?: number;
  /** How long to wait for further successes after the first one, in milliseconds. Default 2000. */
  readonly waitMs?: number;
  /** Told of every success as it comes, also after `waitMs`, for as long as the INVITE takes any: 32 s. */
  readonly onSession?: (session: ClientSession) => void;
}

/** A session as the client sees it. */
export interface ClientSession {
  /** Call-ID: the same for all sessions of one `requestAll`. */
  readonly id: string;
  /** Id of the service, `wine`: after a change the new one. */
  readonly service: string;
  /** URL under which the service is reached, where the app server gave one. Follows a change. */
  readonly access: string | undefined;
  /** Body of the app server's answer as it came; undefined where it had none. Follows a change. */
  readonly answer: Description | undefined;
  /** Resolves once, however the session ends; never rejects. */
  readonly ended: Promise<Ending>;
  /**
   * Moves on to another service, by REFER (RFC 3515): resolves when there is a session with it. This one then ends, or
   * goes on: by `keep`, else as the operator has it for its service. Rejects with a `SipError`, and this session goes
   * on: 481 where this session is over, 491 where another move is under way, else why it came to nothing.
   */
  move(service: string, options?: MoveOptions): Promise<ClientSession>;
  /**
   * Changes to another service within this session, at this app server or another: its id, `beer`, or a description of
   * which the relay's rules make a service. Resolves when it stands; `service`, `access` and `answer` are then the new
   * ones. Rejects with a `SipError`, and the session goes on as it was: the status of the refusal, 487 where it was
   * given up, 491 where another change is under way. With 481 there is no session any more.
   */
  change(to: string | ServiceChange, options?: ChangeOptions): Promise<void>;
  /**
   * Decides when the app server asks for another service. Without it every one is accepted. A handler that throws
   * refuses with 500.
   */
  onChange(handler: (request: ServerChange) => unknown): void;
  /** Hangs up. Resolves when the answer to BYE is there, or none is to be expected any more (32 s); never rejects. */
  end(): Promise<Ending>;
}

/** What a move may say; the rest as for a request. */
export interface MoveOptions
  extends Pick<ServiceRequestOptions, "description" | "contentType" | "headers" | "onProgress"> {
  /**
   * Whether the first session goes on beside the second. Default: as the operator has it for the first one's service
   * (`onMove`).
   */
  readonly keep?: boolean;
}

/** What the app server wants to change the session to: open until `accept`, `refuse`, or the app server's giving up. */
export interface ServerChange {
  /** Id of the service, as the relay will charge it. */
  readonly service: string;
  /** The body of its request; undefined where there is none. */
  readonly description: Description | undefined;
  /** First value of that header field of the request, its name in any case; undefined where there is none. */
  header(name: string): string | undefined;
  /** Aborted when the app server gave it up, or it was not decided within 180 s (5 s for an UPDATE). */
  readonly signal: AbortSignal;
  /**
   * Resolves when the change stands. Rejects with a `SipError`: 487 where it was decided or given up before, 408 where
   * no ACK came.
   */
  accept(): Promise<void>;
  /**
   * Final answer of 400 to 699; `reason` is one line. Does nothing where it was decided before. Throws for any other
   * status.
   */
  refuse(status: number, reason?: string): void;
}
