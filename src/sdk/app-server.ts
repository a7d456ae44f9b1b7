import { isIP } from "node:net";
import {
  Grammar,
  type IncomingInviteRequest,
  type IncomingRequestMessage,
  type ResponseOptions,
  type URI,
} from "sip.js/lib/core/index.js";
import { SERVICE_HEADER } from "../charging/charges/body.ts";
import { passportName } from "../sip/passport.ts";
import { sipUriOf } from "../sip/uri.ts";
import { canonicalHost, isLoopback } from "../support/address.ts";
import type { Logger } from "../support/log.ts";
import type { ServiceHandler } from "./app-api.ts";
import { Decision, RETRY_AFTER_S } from "./decision.ts";
import { type Dialog, within } from "./dialog.ts";
import type { ChargesTarget } from "./late-charges.ts";
import { createProofCheck, type ProofCheck, type ProofOptions } from "./proof.ts";
import { TcpServerTransport } from "./tcp-server-transport.ts";
import { bracketed, createUserAgent, requestUriOf, type UserAgent } from "./user-agent.ts";

export interface AppServerOptions {
  /** Port 0: any free one, see `AppServer.port`. */
  readonly listen: { readonly host: string; readonly port: number };
  /**
   * Service id, as the relay knows it (of others: the user part of the Request-URI), to who decides about a request
   * for it.
   */
  readonly services: Readonly<Record<string, ServiceHandler>>;
  /** Host that Contact and Via say; needed where `listen.host` stands for all addresses. */
  readonly advertised?: string;
  /** Sessions at once (M5); beyond that 503. Default 10,000. */
  readonly capacity?: number;
  /**
   * How a request proves that it came through the relay (M10, RFC 8224): by the relay's key set. Without it and
   * without `relays` the server listens to loopback addresses only; `false`: it takes whoever comes.
   */
  readonly proof?: ProofOptions | false;
  /** IP addresses of the relays: whoever else connects is turned away (M10). Default: anyone may connect. */
  readonly relays?: readonly string[];
  /**
   * How charges after a session's end (M15) are signed: a key from `tollgate appserver key add`, or nothing where the
   * relay trusts this server's address. Left out: a session that has ended takes none.
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

const CAPACITY = 10_000;
const CLOSE_MS = 2000;

/** Serves requests that come from the relay by SIP over TCP (M5-M7, M9-M11, M14, M16), and answers OPTIONS (health). */
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
    const decision = new Decision(invite, service, {
      services,
      logger: this.options.logger,
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
      // Whom the relay asserts and whom it has signed for are one, or somebody in between has changed it.
      if (canonical(decision.user) !== proof.user) return decision.refuse(438, "Invalid Identity Header");
    }
    await decision.ask(handler);
  }
}

/**
 * As the relay's rules have it, else as the Request-URI names it, or To where the relay has put our address into the
 * Request-URI.
 */
function serviceOf(message: IncomingRequestMessage, services: AppServerOptions["services"]): string | undefined {
  const names = [requestUriOf(message), message.to.uri].map((uri) => decoded(uri?.user ?? ""));
  return [message.getHeader(SERVICE_HEADER) ?? "", ...names].find((name) => Object.hasOwn(services, name));
}

/** As a PASSporT names the user (RFC 8224 §8.5). */
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
