import type { URI } from "sip.js/lib/core/index.js";
import type { Client, ClientOptions, ClientSession, RequestAllOptions, ServiceRequestOptions } from "./client-api.ts";
import { type Link, parseUri, type Standing, uriOf } from "./client-link.ts";
import { invited } from "./client-session.ts";
import { type Dialog, within } from "./dialog.ts";
import { invite } from "./invite.ts";
import { SipError } from "./sip-error.ts";
import { type ConnectionUser, dial } from "./tcp-connection.ts";
import { createUserAgent, type UserAgent, unbracketed } from "./user-agent.ts";

const CLOSE_MS = 2000;
/** RFC 5626 §4.4.1 asks for 95 to 120 s. */
const PING_MS = 100_000;

/**
 * Makes a client of the relay. It connects with the first request. After a lost connection, it connects again with the
 * next request. Throws a `TypeError` where `relay` is not a SIP URI for TCP or TLS.
 */
export function createClient(options: ClientOptions): Client {
  return new SipClient(options);
}

class SipClient implements Client {
  private readonly options: ClientOptions;
  private readonly relay: { readonly host: string; readonly port: number };
  private readonly secure: boolean;
  private readonly domain: string;
  private readonly aor: URI;
  private link: Promise<Link> | undefined;
  private closed = false;

  constructor(options: ClientOptions) {
    const relay = parseUri(options.relay, "relay");
    const transport = relay.getParam("transport")?.toLowerCase() ?? "tcp";
    this.secure = relay.scheme === "sips" || transport === "tls";
    if (!/^sips?$/.test(relay.scheme) || (transport !== "tcp" && transport !== "tls"))
      throw new TypeError(`relay: ${options.relay} is not a SIP URI with transport=tcp or tls`);
    this.options = options;
    this.relay = { host: unbracketed(relay.host), port: relay.port ?? (this.secure ? 5061 : 5060) }; // RFC 3261 §19.1.2
    this.domain = options.domain ?? relay.host;
    this.aor = parseUri(`sip:${encodeURIComponent(options.user)}@${this.domain}`, "user and domain");
  }

  async request(service: string, options: ServiceRequestOptions = {}): Promise<ClientSession> {
    const [session] = await this.ask(service, options, undefined);
    return session!;
  }

  requestAll(service: string, options: RequestAllOptions = {}): Promise<ClientSession[]> {
    return this.ask(service, options, options);
  }

  private async ask(
    service: string,
    options: ServiceRequestOptions,
    all: RequestAllOptions | undefined,
  ): Promise<ClientSession[]> {
    if (this.closed) throw new SipError(503, "Service Unavailable", "this client is closed");
    const uri = uriOf(service, this.domain);
    const target = parseUri(uri, "service");
    const link = await this.connect();
    if (options.signal?.aborted) throw new SipError(487, "Request Terminated");
    return invite(link, { aor: this.aor, target, service, options, all });
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
    const listener: ConnectionUser = {
      received: (message) => agent?.receive(message),
      closed: (_connection, reason) => {
        clearInterval(pinging);
        this.link = undefined;
        for (const giveUp of [...pending]) giveUp(`the connection to the relay was lost: ${reason}`);
        for (const dialog of [...dialogs]) dialog.lost(reason);
        agent?.core.dispose();
      },
    };
    const { host, port } = this.relay;
    const tls = this.secure ? (this.options.tls ?? {}) : undefined;
    const connection = await dial(host, port, listener, tls).catch((error: Error) => {
      throw new SipError(503, "Service Unavailable", error.message);
    });
    pinging = setInterval(() => connection.ping(), PING_MS).unref();
    agent = createUserAgent({
      transport: { protocol: this.secure ? "TLS" : "TCP", send: (message) => connection.send(message) },
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
