import {
  type AckableIncomingResponseWithSession,
  type Body,
  Grammar,
  type IncomingInviteRequest,
  type IncomingResponse,
  type OutgoingInviteRequest,
  type URI,
} from "sip.js/lib/core/index.js";
import { parseTargetDialog } from "../sip/refer.ts";
import type { Logger } from "../support/log.ts";
import { systemRandom } from "../support/random.ts";
import { Dialog, type Ending, finalAnswer, referTo, textOf, within } from "./dialog.ts";
import {
  type Access,
  accessOf,
  type Description,
  descriptionOf,
  SERVICE_TYPE,
  SESSION_DISPOSITION,
  toBody,
} from "./session-description.ts";
import { SipError } from "./sip-error.ts";
import { dial, type TcpConnection } from "./tcp-connection.ts";
import { ALLOW, createUserAgent, type UserAgent, unbracketed } from "./user-agent.ts";

export interface ClientOptions {
  /** Where the relay takes SIP over TCP: `sip:127.0.0.1:5060;transport=tcp`. */
  readonly relay: string;
  readonly user: string;
  readonly password: string;
  /** Domain of the portal, in the Request-URI and in From. Default: the relay's host. */
  readonly domain?: string;
  readonly logger?: Logger;
  /**
   * Takes a session that the app server of another has brought about, by sending the client on to a partner (M23). Without it the client
   * goes nowhere but where it asks.
   */
  readonly onSession?: (session: ClientSession, from: ClientSession) => void;
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

/** A session as the client sees it. */
export interface ClientSession {
  /** Call-ID. */
  readonly id: string;
  readonly service: string;
  /** URL under which the service is reached (M6), where the app server gave one. */
  readonly access: string | undefined;
  /** Body of the answer as it came. */
  readonly answer: Description | undefined;
  /** Resolves once, however the session ends; never rejects. */
  readonly ended: Promise<Ending>;
  /**
   * Moves on to another service (M23), by REFER: resolves when there is a session with it. This one then ends, or goes on: by `keep`, else as the
   * relay has it for its service (M24). Rejects with a `SipError` where it came to nothing; this session then goes on.
   */
  move(service: string, options?: MoveOptions): Promise<ClientSession>;
  /** Hangs up; resolves when the answer to BYE is there. */
  end(): Promise<Ending>;
}

export interface MoveOptions
  extends Pick<ServiceRequestOptions, "description" | "contentType" | "headers" | "onProgress"> {
  readonly keep?: boolean;
}

export interface Client {
  /**
   * Asks for a service, `wine` or a whole URI `sip:wine@portal.com`, and resolves when it has accepted. Rejects with a `SipError`: the status
   * of the refusal, 503 where the relay cannot be reached or the connection breaks, 487 where the request was given up.
   */
  request(service: string, options?: ServiceRequestOptions): Promise<ClientSession>;
  /** Ends every session, then the connection. Afterwards a request is refused. */
  close(): Promise<void>;
}

const CLOSE_MS = 2000;
const CANCEL_WAIT_MS = 32_000;
/** RFC 5626 §4.4.1 asks for 95 to 120 s. */
const PING_MS = 100_000;

/** A client of the relay (M1-M7, M9, M11). It connects with the first request, and again with the next one after a connection was lost. */
export function createClient(options: ClientOptions): Client {
  return new SipClient(options);
}

interface Link {
  readonly connection: TcpConnection;
  readonly agent: UserAgent;
  readonly dialogs: Set<Dialog>;
  /** Requests without a final answer yet: called when the connection is lost. */
  readonly pending: Set<(reason: string) => void>;
  /** Sessions by the name of their dialog, as the relay writes it into Target-Dialog. */
  readonly sessions: Map<string, Standing>;
  readonly options: ClientOptions;
  readonly domain: string;
}

/** A session that stands, and who waits for the one that it is moved to. */
interface Standing {
  readonly session: ClientSession;
  moving?:
    | { readonly service: string; readonly body: Body; readonly done: (session: ClientSession) => void }
    | undefined;
}

class SipClient implements Client {
  private readonly options: ClientOptions;
  private readonly relay: { readonly host: string; readonly port: number };
  private readonly domain: string;
  private readonly aor: URI;
  private link: Promise<Link> | undefined;
  private closed = false;

  constructor(options: ClientOptions) {
    const relay = parseUri(options.relay, "relay");
    const transport = relay.getParam("transport")?.toLowerCase() ?? "tcp";
    if (relay.scheme !== "sip" || transport !== "tcp")
      throw new TypeError(`relay: ${options.relay} is not a sip: URI with transport=tcp`);
    this.options = options;
    this.relay = { host: unbracketed(relay.host), port: relay.port ?? 5060 }; // RFC 3261 §19.1.2
    this.domain = options.domain ?? relay.host;
    this.aor = parseUri(`sip:${encodeURIComponent(options.user)}@${this.domain}`, "user and domain");
  }

  async request(service: string, options: ServiceRequestOptions = {}): Promise<ClientSession> {
    if (this.closed) throw new SipError(503, "Service Unavailable", "this client is closed");
    const uri = uriOf(service, this.domain);
    const target = parseUri(uri, "service");
    const link = await this.connect();
    if (options.signal?.aborted) throw new SipError(487, "Request Terminated");
    return invite(link, this.aor, target, service, options);
  }

  async close(): Promise<void> {
    this.closed = true;
    const link = await this.link?.catch(() => undefined);
    if (!link) return;
    for (const giveUp of [...link.pending]) giveUp("the client was closed");
    await within(
      CLOSE_MS,
      [...link.dialogs].map((dialog) => dialog.bye()),
    );
    link.connection.finish("closed by this client");
    link.agent.core.dispose();
  }

  private connect(): Promise<Link> {
    const open = this.link ?? this.open();
    this.link = open;
    open.catch(() => {
      if (this.link === open) this.link = undefined;
    });
    return open;
  }

  private async open(): Promise<Link> {
    const { user, password, logger } = this.options;
    const dialogs = new Set<Dialog>();
    const pending = new Set<(reason: string) => void>();
    const sessions = new Map<string, Standing>();
    let agent: UserAgent | undefined;
    let link: Link | undefined;
    let pinging: NodeJS.Timeout | undefined;
    const connection = await dial(this.relay.host, this.relay.port, {
      received: (message) => agent?.receive(message),
      closed: (_connection, reason) => {
        clearInterval(pinging);
        this.link = undefined;
        for (const giveUp of [...pending]) giveUp(`the connection to the relay was lost: ${reason}`);
        for (const dialog of [...dialogs]) dialog.lost(reason);
        agent?.core.dispose();
      },
    }).catch((error: Error) => {
      throw new SipError(503, "Service Unavailable", error.message);
    });
    pinging = setInterval(() => connection.ping(), PING_MS).unref();
    agent = createUserAgent({
      transport: { protocol: "TCP", send: (message) => connection.send(message) },
      aor: this.aor,
      contact: { user: encodeURIComponent(user), host: connection.localAddress, port: connection.localPort },
      credentials: { user, password },
      delegate: { onInvite: (invite) => void (link ? invited(link, invite) : invite.reject()) },
      ...(logger ? { logger } : {}),
    });
    link = { connection, agent, dialogs, pending, sessions, options: this.options, domain: this.domain };
    return link;
  }
}

/** Sends the INVITE and waits for its final answer (RFC 3261 §13.2). */
function invite(
  link: Link,
  aor: URI,
  target: URI,
  service: string,
  options: ServiceRequestOptions,
): Promise<ClientSession> {
  const { core, contact } = link.agent;
  const { description, contentType = SERVICE_TYPE, headers = {}, signal, onProgress } = options;
  const extraHeaders = [`Contact: ${contact}`, ALLOW, "Accept: */*"];
  for (const [name, value] of Object.entries(headers)) extraHeaders.push(headerLine(name, value));
  if (description !== undefined) extraHeaders.push(SESSION_DISPOSITION);
  const identifiers = { callId: systemRandom.token(), fromTag: systemRandom.token(64) };
  const body = description === undefined ? undefined : toBody({ contentType, content: description });
  const message = core.makeOutgoingRequestMessage("INVITE", target, aor, target, identifiers, extraHeaders, body);

  return new Promise((resolve, reject) => {
    let outgoing: OutgoingInviteRequest | undefined;
    let cancelled = false;
    let cancelTimer: NodeJS.Timeout | undefined;
    let session: ClientSession | undefined;
    const settled = () => {
      link.pending.delete(giveUp);
      signal?.removeEventListener("abort", cancel);
      clearTimeout(cancelTimer);
    };
    const fail = (error: SipError) => {
      settled();
      reject(error);
    };
    const giveUp = (reason: string) => {
      if (!cancelled && link.connection.open) outgoing?.cancel();
      cancelled = true;
      fail(new SipError(503, "Service Unavailable", reason));
    };
    const cancel = () => {
      cancelled = true;
      outgoing?.cancel();
      // RFC 3261 §9.1: without a final answer in 64*T1 the request counts as cancelled.
      cancelTimer = setTimeout(
        () => fail(new SipError(487, "Request Terminated", "no answer to CANCEL")),
        CANCEL_WAIT_MS,
      );
    };
    const refused = ({ message: answer }: IncomingResponse) =>
      fail(new SipError(answer.statusCode ?? 500, answer.reasonPhrase ?? "", textOf(descriptionOf(answer))));
    const accepted = (response: AckableIncomingResponseWithSession) => {
      response.ack();
      const dialog = track(link, new Dialog(response.session, "uac"));
      // The answer crossed our CANCEL, or a second branch answered too: that session is not wanted (RFC 3261 §13.2.2.4).
      if (cancelled || session) void dialog.bye();
      if (cancelled) return fail(new SipError(487, "Request Terminated"));
      if (session) return;
      session = clientSession(link, dialog, service, accessOf(descriptionOf(response.message)));
      settled();
      resolve(session);
    };

    link.pending.add(giveUp);
    signal?.addEventListener("abort", cancel);
    outgoing = core.invite(message, {
      ...finalAnswer(refused),
      onAccept: accepted,
      onProgress: ({ message: answer }) => onProgress?.(answer.statusCode ?? 100, answer.reasonPhrase ?? ""),
    });
  });
}

function clientSession(link: Link, dialog: Dialog, service: string, access: Access | undefined): ClientSession {
  const { ended } = dialog;
  const { callId, localTag, remoteTag } = dialog.session;
  const session: ClientSession = {
    id: callId,
    service,
    access: access?.url,
    answer: access,
    ended,
    move: (to, options = {}) => move(link, dialog, standing, to, options),
    end: () => dialog.bye(),
  };
  const standing: Standing = { session };
  const name = dialogName(callId, remoteTag, localTag);
  link.sessions.set(name, standing);
  void ended.then(() => link.sessions.delete(name));
  return session;
}

/** A dialog by its Call-ID, the relay's tag and ours. */
const dialogName = (callId: string, theirTag: string, ourTag: string) => `${callId} ${theirTag} ${ourTag}`;

/** Asks the relay to bring a session with another service about, and takes the INVITE that it sends then (M23). */
async function move(
  link: Link,
  dialog: Dialog,
  standing: Standing,
  service: string,
  { keep, description, contentType = SERVICE_TYPE, headers = {}, onProgress }: MoveOptions,
): Promise<ClientSession> {
  if (standing.moving) throw new SipError(491, "Request Pending", "another move is under way");
  const extraHeaders = Object.entries(headers).map(([name, value]) => headerLine(name, value));
  const body = toBody({ contentType, content: description ?? "" });
  let done!: (session: ClientSession) => void;
  const arrived = new Promise<ClientSession>((resolve) => {
    done = resolve;
  });
  standing.moving = { service, body, done };
  try {
    const options = description === undefined ? { extraHeaders } : { extraHeaders, body };
    const refused = dialog.refer(referTo(uriOf(service, link.domain), keep), options, onProgress);
    // The relay reports the success after the INVITE; should the session end meanwhile, whoever has arrived has arrived.
    return await Promise.race([arrived, refused.then(() => arrived)]);
  } finally {
    standing.moving = undefined;
  }
}

/** An INVITE of the relay: the session that one of ours is moved to. Target-Dialog says which (RFC 4538). */
function invited(link: Link, invite: IncomingInviteRequest): void {
  const { message } = invite;
  const target = parseTargetDialog(message.getHeader("target-dialog") ?? "");
  const { callId, senderTag, receiverTag } = target.ok ? target.value : { callId: "", senderTag: "", receiverTag: "" };
  const standing = link.sessions.get(dialogName(callId, senderTag, receiverTag));
  const { onSession } = link.options;
  if (!standing || (!standing.moving && !onSession)) return void invite.reject({ statusCode: 603 });
  const { service, body, done } = standing.moving ?? {
    service: message.from.uri.user ?? "",
    body: toBody({ contentType: SERVICE_TYPE, content: "" }),
    done: (session: ClientSession) => onSession?.(session, standing.session),
  };
  // SIP.js wants a body in every 2xx of its own: what was asked for is said again.
  const { session } = invite.accept({ statusCode: 200, extraHeaders: [ALLOW, SESSION_DISPOSITION], body });
  const dialog = track(link, new Dialog(session, "uas"));
  void dialog.confirmed().then((confirmed) => {
    if (confirmed) done(clientSession(link, dialog, service, accessOf(descriptionOf(message))));
  });
}

const uriOf = (service: string, domain: string): string =>
  /^sips?:/i.test(service) ? service : `sip:${encodeURIComponent(service)}@${domain}`;

function track(link: Link, dialog: Dialog): Dialog {
  link.dialogs.add(dialog);
  void dialog.ended.then(() => link.dialogs.delete(dialog));
  return dialog;
}

function parseUri(text: string, what: string): URI {
  const uri = Grammar.URIParse(text);
  if (!uri) throw new TypeError(`${what}: ${text} is not a SIP URI`);
  return uri;
}

/** A header that the caller gives: it must stay one line. */
function headerLine(name: string, value: string): string {
  if (!/^[A-Za-z0-9.!%*_+`'~-]+$/.test(name) || /[\r\n]/.test(value))
    throw new TypeError(`headers: ${name} is not a header of one line`);
  return `${name}: ${value}`;
}
