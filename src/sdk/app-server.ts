import { isIP } from "node:net";
import {
  Grammar,
  type IncomingInviteRequest,
  type IncomingRequestMessage,
  type ResponseOptions,
  type URI,
} from "sip.js/lib/core/index.js";
import { PACKAGE, SESSION_HEADER } from "../charging/charge-body.ts";
import { passportName } from "../sip/passport.ts";
import { sipUriOf } from "../sip/uri.ts";
import type { Logger } from "../support/log.ts";
import { type AppSession, createAppSession } from "./app-session.ts";
import { type Dialog, within } from "./dialog.ts";
import { type ChargesTarget, reportLate } from "./late-charges.ts";
import { createProofCheck, type ProofCheck, type ProofOptions } from "./proof.ts";
import {
  ACCESS_TYPE,
  accessBody,
  type Description,
  descriptionOf,
  SESSION_DISPOSITION,
  toBody,
} from "./session-description.ts";
import { SipError } from "./sip-error.ts";
import { TcpServerTransport } from "./tcp-server-transport.ts";
import { bracketed, createUserAgent, requestUriOf, type UserAgent } from "./user-agent.ts";

export interface AppServerOptions {
  /** Port 0: any free one, see `AppServer.port`. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Service id (user part of the Request-URI) to who decides about a request for it. */
  readonly services: Readonly<Record<string, ServiceHandler>>;
  /** Host that Contact and Via say; needed where `listen.host` stands for all addresses. */
  readonly advertised?: string;
  /** Sessions at once (M5); beyond that 503. Default 10,000. */
  readonly capacity?: number;
  /**
   * How a request proves that it came through the relay (M10, RFC 8224): by the relay's key set. Without it and without `relays` the server
   * listens to loopback addresses only; `false`: it takes whoever comes.
   */
  readonly proof?: ProofOptions | false;
  /** IP addresses of the relays: whoever else connects is turned away (M10). Default: anyone may connect. */
  readonly relays?: readonly string[];
  /**
   * How charges after a session's end (M15) are signed: a key from `tollgate appserver key add`, or nothing where the relay trusts this server's address. Left
   * out: a session that has ended takes none.
   */
  readonly charging?: { readonly key: string; readonly secret: string } | "by address";
  readonly logger?: Logger;
}

export interface AppServer {
  readonly port: number;
  /** For the relay's directory: `sip:127.0.0.1:41234;transport=tcp`. */
  readonly uri: string;
  /** Sessions that stand now. */
  readonly sessions: number;
  /** Refuses new requests, ends every session, and closes. */
  close(): Promise<void>;
}

/** Decides by `accept` or `refuse`, at once or later; one that throws is answered with 500. */
export type ServiceHandler = (request: ServiceRequest) => unknown;

/** What a success may carry (M6): a URL, or a body of one's own. */
export type Acceptance = { readonly url?: string } | { readonly body: string; readonly contentType: string };

/** A request for a service (M5). */
export interface ServiceRequest {
  readonly service: string;
  /** Who asks, as the relay vouches for it: P-Asserted-Identity (RFC 3325) where there is one, else From. */
  readonly user: string;
  /** The client's description of what it wants (M1). */
  readonly description: Description | undefined;
  /** First value of a header of the INVITE. */
  header(name: string): string | undefined;
  /** Aborted when the request was given up (CANCEL) before it was decided. */
  readonly signal: AbortSignal;
  /** Resolves when the session stands (ACK). Rejects with a `SipError` where it does not come to that. */
  accept(acceptance?: Acceptance): Promise<AppSession>;
  /** Final answer of 300 to 699, for instance 486 "Busy Here". */
  refuse(status: number, reason?: string): void;
}

const CAPACITY = 10_000;
const DECISION_MS = 180_000;
const CLOSE_MS = 2000;
const RETRY_AFTER_S = 5;

/** Serves requests that come from the relay by SIP over TCP (M5-M7, M9-M11, M14, M16), and answers OPTIONS (health). */
export async function serve(options: AppServerOptions): Promise<AppServer> {
  const { host, port } = options.listen;
  const advertised = options.advertised ?? host;
  if (isIP(advertised) && /^[0.:]+$/.test(advertised))
    throw new TypeError("advertised: needed where listen.host stands for all addresses");
  if (options.proof === undefined && options.relays === undefined && !isLoopback(host))
    throw new TypeError(
      "serve: say who the relay is: proof: { keys }, or relays: [addresses], or proof: false for anyone",
    );
  const relays = options.relays && new Set(options.relays);
  const transport = await TcpServerTransport.listen({
    host,
    port,
    ...(relays ? { admits: (address) => relays.has(address) } : {}),
  });
  return new SipAppServer(options, transport, advertised);
}

const isLoopback = (host: string): boolean => /^(127\.\d+\.\d+\.\d+|::1|\[::1\]|localhost)$/i.test(host);

class SipAppServer implements AppServer {
  readonly port: number;
  readonly uri: string;
  private readonly options: AppServerOptions;
  private readonly transport: TcpServerTransport;
  private readonly agent: UserAgent;
  private readonly dialogs = new Set<Dialog>();
  private readonly undecided = new Set<Decision>();
  private readonly check: ProofCheck | undefined;
  private readonly late: ChargesTarget | undefined;
  private closing = false;

  constructor(options: AppServerOptions, transport: TcpServerTransport, host: string) {
    this.options = options;
    this.transport = transport;
    this.port = transport.port;
    this.uri = `sip:${bracketed(host)}:${this.port};transport=tcp`;
    this.check = options.proof ? createProofCheck({ self: this.uri, ...options.proof }) : undefined;
    this.agent = createUserAgent({
      transport,
      aor: Grammar.URIParse(this.uri) as URI,
      contact: { host, port: this.port },
      delegate: { onInvite: (request) => this.invited(request) },
      ...(typeof options.charging === "object" && {
        credentials: { user: options.charging.key, password: options.charging.secret },
      }),
      options: () => (this.closing ? this.unavailable() : { statusCode: 200 }),
      ...(options.logger ? { logger: options.logger } : {}),
    });
    transport.onMessage = this.agent.receive;
    const { core } = this.agent;
    if (options.charging) this.late = { core, follow: (callId, other) => transport.follow(callId, other) };
  }

  get sessions(): number {
    return this.dialogs.size;
  }

  async close(): Promise<void> {
    this.closing = true;
    for (const decision of [...this.undecided]) decision.refuse(503);
    await within(
      CLOSE_MS,
      [...this.dialogs].map((dialog) => dialog.bye()),
    );
    await this.transport.close();
    this.agent.core.dispose();
  }

  private unavailable(): ResponseOptions & { extraHeaders: string[] } {
    return { statusCode: 503, extraHeaders: [`Retry-After: ${RETRY_AFTER_S}`] }; // RFC 3261 §21.5.4
  }

  private invited(invite: IncomingInviteRequest): void {
    const { message } = invite;
    invite.trying();
    // RFC 3261 §20.15: a body has a type. SIP.js would throw only when the request is accepted.
    if (message.body && !message.hasHeader("content-type")) {
      return void invite.reject({ statusCode: 400, reasonPhrase: "Missing Content-Type" });
    }
    const { services, capacity = CAPACITY } = this.options;
    const service = serviceOf(message, services);
    if (service === undefined) return void invite.reject({ statusCode: 404 });
    if (this.closing || this.dialogs.size + this.undecided.size >= capacity)
      return void invite.reject(this.unavailable());
    const decision = new Decision(invite, service, this.options.logger, this.dialogs, this.late);
    this.undecided.add(decision);
    void decision.made.then(() => this.undecided.delete(decision));
    void this.decide(decision, message, services[service]!);
  }

  private async decide(decision: Decision, message: IncomingRequestMessage, handler: ServiceHandler): Promise<void> {
    const proof = await this.check?.({
      to: message.to.uri.toRaw(),
      identities: message.getHeaders("identity"),
    });
    if (proof && !proof.ok) decision.refuse(proof.status, proof.reason);
    // Whom the relay asserts and whom it has signed for are one, or somebody in between has changed it.
    else if (proof && canonical(decision.user) !== proof.user) decision.refuse(438, "Invalid Identity Header");
    else await decision.ask(handler);
  }
}

/** An INVITE on which the app server has not decided yet. */
class Decision {
  readonly made: Promise<void>;
  private readonly invite: IncomingInviteRequest;
  private readonly service: string;
  private readonly logger: Logger | undefined;
  private readonly dialogs: Set<Dialog>;
  private readonly late: ChargesTarget | undefined;
  readonly user: string;
  private readonly abort = new AbortController();
  private readonly timer: NodeJS.Timeout;
  private settle!: () => void;
  private open = true;

  constructor(
    invite: IncomingInviteRequest,
    service: string,
    logger: Logger | undefined,
    dialogs: Set<Dialog>,
    late: ChargesTarget | undefined,
  ) {
    this.late = late;
    this.invite = invite;
    this.service = service;
    this.logger = logger;
    this.dialogs = dialogs;
    this.user = identityOf(invite.message);
    this.made = new Promise((resolve) => {
      this.settle = resolve;
    });
    this.timer = setTimeout(() => this.refuse(480), DECISION_MS);
    invite.delegate = {
      onCancel: () => {
        this.refuse(487); // RFC 3261 §9.2
        this.abort.abort();
      },
    };
  }

  async ask(handler: ServiceHandler): Promise<void> {
    if (!this.open) return; // given up while the proof was checked
    this.invite.progress({ statusCode: 180, extraHeaders: recvInfo(this.invite.message) });
    try {
      await handler({
        service: this.service,
        user: this.user,
        description: descriptionOf(this.invite.message),
        header: (name) => this.invite.message.getHeader(name),
        signal: this.abort.signal,
        accept: (acceptance) => {
          const session = this.accept(acceptance);
          session.catch(() => {}); // for a handler that does not wait: a client that hangs up early must not end the process
          return session;
        },
        refuse: (status, reason) => this.refuse(status, reason),
      });
    } catch (error) {
      // Whoever accepted a request that was given up in the meantime has nothing to be told about.
      if (this.open || !(error instanceof SipError))
        this.logger?.error({ err: error, service: this.service }, "a service handler failed");
      this.refuse(500);
    }
  }

  refuse(status: number, reason?: string): void {
    if (!(status >= 300 && status <= 699)) throw new RangeError(`refuse: ${status} is not a status of 300 to 699`);
    if (reason !== undefined && /[\r\n]/.test(reason)) throw new TypeError("refuse: a reason is one line");
    if (!this.close()) return;
    const answer: ResponseOptions =
      reason === undefined ? { statusCode: status } : { statusCode: status, reasonPhrase: reason };
    if (status === 503) answer.extraHeaders = [`Retry-After: ${RETRY_AFTER_S}`];
    if (status < 400) this.invite.redirect([], answer);
    else this.invite.reject(answer);
  }

  async accept(acceptance: Acceptance = {}): Promise<AppSession> {
    const body =
      "body" in acceptance ? { contentType: acceptance.contentType, content: acceptance.body } : access(acceptance.url);
    if (!this.close()) throw new SipError(487, "Request Terminated", "the request was decided or given up before");
    const { message } = this.invite;
    // SIP.js wants a body in every 2xx of its own: without a URL it is an empty access body.
    const { session } = this.invite.accept({
      statusCode: 200,
      extraHeaders: [SESSION_DISPOSITION, ...recvInfo(message)],
      body: toBody(body),
    });
    const { late } = this;
    const { dialog, app } = createAppSession(session, {
      tollgateSession: message.getHeader(SESSION_HEADER),
      late: late && ((charges) => reportLate(late, message, charges)),
      service: this.service,
      user: this.user,
      chargePackage: offersCharging(message),
      warn: (why) => this.logger?.error({ session: session.callId, service: this.service }, why),
    });
    this.dialogs.add(dialog);
    void dialog.ended.then(() => this.dialogs.delete(dialog));
    if (!(await dialog.confirmed()))
      throw new SipError(408, "Request Timeout", "the session ended before its ACK came");
    return app;
  }

  private close(): boolean {
    if (!this.open) return false;
    this.open = false;
    clearTimeout(this.timer);
    this.settle();
    return true;
  }
}

const access = (url: string | undefined): Description =>
  url === undefined ? { contentType: ACCESS_TYPE, content: "{}" } : accessBody(url);

/** The service is named by the Request-URI, or by To where the relay has put our address into the Request-URI. */
function serviceOf(message: IncomingRequestMessage, services: AppServerOptions["services"]): string | undefined {
  for (const uri of [requestUriOf(message), message.to.uri]) {
    const name = uri?.user === undefined ? "" : decoded(uri.user);
    if (Object.hasOwn(services, name)) return name;
  }
  return undefined;
}

function identityOf(message: IncomingRequestMessage): string {
  const asserted = message.getHeader("p-asserted-identity");
  const read = asserted === undefined ? undefined : Grammar.nameAddrHeaderParse(asserted);
  return (read ?? message.from).uri.toRaw();
}

/** RFC 6086 §5.2.3: whoever got a Recv-Info answers with one; we want no INFO of any package. */
const recvInfo = (message: IncomingRequestMessage) => (message.hasHeader("recv-info") ? ["Recv-Info:"] : []);

/** As a PASSporT names the user (RFC 8224 §8.5). */
function canonical(text: string): string | undefined {
  const uri = sipUriOf(text);
  const name = uri && passportName(uri);
  return name && ("uri" in name ? name.uri : name.tn);
}

function offersCharging(message: IncomingRequestMessage): boolean {
  const packages = message.getHeaders("recv-info").flatMap((value) => value.split(","));
  return packages.some((name) => name.split(";", 1)[0]!.trim().toLowerCase() === PACKAGE);
}

function decoded(user: string): string {
  try {
    return decodeURIComponent(user);
  } catch {
    return user;
  }
}
