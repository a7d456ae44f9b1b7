import { isIP } from "node:net";
import {
  Grammar,
  type IncomingInviteRequest,
  type IncomingRequestMessage,
  type ResponseOptions,
  type URI,
} from "sip.js/lib/core/index.js";
import { SERVICE_HEADER } from "../charging/charges/header-names.ts";
import { passportName } from "../sip/passport.ts";
import { sipUriOf } from "../sip/uri.ts";
import { canonicalHost, isLoopback } from "../support/address.ts";
import type { Logger } from "../support/log.ts";
import type { ServiceHandler } from "./app-api.ts";
import { Decision, RETRY_AFTER_S } from "./decision.ts";
import { type Dialog, within } from "./dialog.ts";
import type { ChargesTarget } from "./late-charges.ts";
import { nodeHashes } from "./node-hashes.ts";
import { printLog } from "./print-log.ts";
import { createProofCheck, type ProofCheck, type ProofOptions } from "./proof.ts";
import { type ServerTls, TcpServerTransport } from "./tcp-server-transport.ts";
import { bracketed, createUserAgent, requestUriOf, type UserAgent } from "./user-agent.ts";

/** What `serve` needs to know. */
export interface AppServerOptions {
  /** Where to listen, by TCP, or by TLS where `tls` is given. Port 0: any free one, see `AppServer.port`. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Certificate and key, to be reached by TLS alone. The relay wants the name of its URI in the certificate. */
  readonly tls?: ServerTls;
  /**
   * The handler for each service, by the service's id as the relay knows it. Where no relay says the service, it is the
   * user part of the Request-URI. A request for any other service gets 404.
   */
  readonly services: Readonly<Record<string, ServiceHandler>>;
  /**
   * The host in Contact and Via. Default: `listen.host`. Needed where `listen.host` stands for all addresses (0.0.0.0,
   * ::).
   */
  readonly advertised?: string;
  /**
   * How many sessions and undecided requests there may be at once. Beyond that, the answer is 503 with Retry-After.
   * Default 10,000.
   */
  readonly capacity?: number;
  /**
   * How a request proves that it came through the relay (RFC 8224): by a key of the relay's key set. `false`: no proof
   * is asked for, and anyone is served. Where the server listens on more than a loopback address, this or `relays` is
   * needed.
   */
  readonly proof?: ProofOptions | false;
  /** IP addresses of the relays: a connection from any other is closed. Default: anyone may connect. */
  readonly relays?: readonly string[];
  /**
   * How charges after a session's end prove who sent them: with a key from `tollgate appserver key add`, or not at all
   * (`"by address"`) where the relay trusts this server's address (`charging.trustAddress`). Left out: a session that
   * has ended takes no charges.
   */
  readonly charging?: { readonly key: string; readonly secret: string } | "by address";
  /**
   * Gets a line for each handler that failed, and for charges that did not reach the bill. Default: they are printed on
   * standard error; `false`: not at all.
   */
  readonly logger?: Logger | false;
  /**
   * Seconds that a session goes on without a connection to the relay, for the relay may be back, or another in its
   * place. Then it ends with `by: "connection"`. Default 60.
   */
  readonly reconnectS?: number;
}

/** An app server that listens. */
export interface AppServer {
  /** The port that it listens on. */
  readonly port: number;
  /** For the relay's list of app servers: `sip:127.0.0.1:41234;transport=tcp`. */
  readonly uri: string;
  /** How many sessions there are now. */
  readonly sessions: number;
  /** Answers new requests with 503, ends every session, and closes after 2 s at the latest. */
  close(): Promise<void>;
}

const CAPACITY = 10_000;
const CLOSE_MS = 2000;
const RECONNECT_S = 60;

/**
 * Serves requests that come from the relay by SIP over TCP. Answers OPTIONS too, with which the relay asks whether the
 * server is there. Resolves when the server listens. Rejects with a `TypeError` where an option is missing, and with
 * the system's error where it cannot listen.
 */
export async function serve(options: AppServerOptions): Promise<AppServer> {
  const { host, port } = options.listen;
  const advertised = options.advertised ?? host;
  if (isIP(advertised) && /^[0.:]+$/.test(advertised))
    throw new TypeError("advertised: needed where listen.host stands for all addresses");
  if (options.proof === undefined && options.relays === undefined && !isLocal(host))
    throw new TypeError(
      "serve: say who the relay is: proof: { keys }, or relays: [addresses], or proof: false for anyone",
    );
  const relays = options.relays && new Set(options.relays.map(canonicalHost));
  const transport = await TcpServerTransport.listen({
    host,
    port,
    tls: options.tls,
    ...(relays ? { admits: (address) => relays.has(address) } : {}),
  });
  return new SipAppServer(options, transport, advertised);
}

const isLocal = (host: string): boolean => isLoopback(host) || canonicalHost(host) === "localhost";

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
    this.uri = `sip:${bracketed(host)}:${this.port};transport=${transport.protocol.toLowerCase()}`;
    this.check = options.proof ? createProofCheck({ self: this.uri, ...options.proof }) : undefined;
    this.agent = createUserAgent({
      transport,
      aor: Grammar.URIParse(this.uri) as URI,
      contact: { host, port: this.port },
      hashes: nodeHashes,
      delegate: { onInvite: (request) => this.invited(request) },
      ...(typeof options.charging === "object" && {
        credentials: { user: options.charging.key, password: options.charging.secret },
      }),
      options: () => (this.closing ? this.unavailable() : { statusCode: 200 }),
      ...(options.logger ? { logger: options.logger } : {}),
    });
    transport.onMessage = this.agent.receive;
    transport.onClosed = (callIds) => this.cutOff(callIds);
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

  /** The connection of these dialogs is closed: they end, unless the relay sends something in them in time. */
  private cutOff(callIds: ReadonlySet<string>): void {
    const { reconnectS = RECONNECT_S } = this.options;
    for (const dialog of this.dialogs) {
      const { callId } = dialog.session;
      if (!callIds.has(callId)) continue;
      const timer = setTimeout(() => {
        if (!this.transport.reaches(callId)) dialog.lost("the relay is gone");
      }, reconnectS * 1000);
      void dialog.ended.then(() => clearTimeout(timer));
    }
  }

  private unavailable(): ResponseOptions & { extraHeaders: string[] } {
    return { statusCode: 503, extraHeaders: [`Retry-After: ${RETRY_AFTER_S}`] }; // RFC 3261 §21.5.4
  }

  private invited(invite: IncomingInviteRequest): void {
    const { message } = invite;
    invite.trying();
    // RFC 3261 §20.15: a body has a type. Checked here, because SIP.js throws only when the request is accepted.
    if (message.body && !message.hasHeader("content-type")) {
      return void invite.reject({ statusCode: 400, reasonPhrase: "Missing Content-Type" });
    }
    const { services, capacity = CAPACITY } = this.options;
    const service = serviceOf(message, services);
    if (service === undefined) return void invite.reject({ statusCode: 404 });
    if (this.closing || this.dialogs.size + this.undecided.size >= capacity)
      return void invite.reject(this.unavailable());
    const decision = new Decision(invite, service, {
      services,
      logger: this.options.logger === false ? undefined : (this.options.logger ?? printLog),
      dialogs: this.dialogs,
      late: this.late,
    });
    this.undecided.add(decision);
    void decision.made.then(() => this.undecided.delete(decision));
    void this.decide(decision, message, services[service]!);
  }

  private async decide(decision: Decision, message: IncomingRequestMessage, handler: ServiceHandler): Promise<void> {
    const proof = await this.check?.({
      to: message.to.uri.toRaw(),
      identities: message.getHeaders("identity"),
    });
    if (proof && !proof.ok) return decision.refuse(proof.status, proof.reason);
    if (proof) {
      decision.user ??= proof.user;
      // The user asserted and the user signed for must be the same: if not, somebody in between has changed the
      // request.
      if (canonical(decision.user) !== proof.user) return decision.refuse(438, "Invalid Identity Header");
    }
    await decision.ask(handler);
  }
}

/**
 * The service that the relay's rules have found; else the one in the Request-URI; else the one in To, for the relay may
 * have put our address into the Request-URI.
 */
function serviceOf(message: IncomingRequestMessage, services: AppServerOptions["services"]): string | undefined {
  const names = [requestUriOf(message), message.to.uri].map((uri) => decoded(uri?.user ?? ""));
  return [message.getHeader(SERVICE_HEADER) ?? "", ...names].find((name) => Object.hasOwn(services, name));
}

/** The user's URI in the form that a PASSporT has (RFC 8224 §8.5). */
function canonical(text: string): string | undefined {
  const uri = sipUriOf(text);
  const name = uri && passportName(uri);
  return name && ("uri" in name ? name.uri : name.tn);
}

function decoded(user: string): string {
  try {
    return decodeURIComponent(user);
  } catch {
    return user;
  }
}
