import type { URI } from "sip.js/lib/core/index.js";
import type {
  Client,
  ClientSession,
  RequestAllOptions,
  ServiceRequestOptions,
  SipClientOptions,
} from "./client-api.ts";
import { type Link, parseUri, type Standing, uriOf } from "./client-link.ts";
import { invited } from "./client-session.ts";
import type { Connection, ConnectionUser, Relays } from "./connection.ts";
import { type Dialog, within } from "./dialog.ts";
import type { Hashes } from "./digest.ts";
import { invite } from "./invite.ts";
import { SipError } from "./sip-error.ts";
import { token } from "./token.ts";
import { createUserAgent } from "./user-agent.ts";

const CLOSE_MS = 2000;
/** A client may take that long to notice that its connection is gone, and to make another (RFC 5626 §4.5). */
const RECONNECT_S = 90;
const AGAIN_LEAST_MS = 100;
const AGAIN_MOST_MS = 2_000;
/** RFC 5626 §4.4.1 asks for 95 to 120 s. */
const PING_MS = 100_000;

/** A client on any platform: `relays` says how the relay is reached, and `hashes` which digests can be made. */
export class SipClient implements Client {
  private readonly options: SipClientOptions;
  private readonly relays: Relays;
  private readonly hashes: Hashes;
  /** Which of them is used. */
  private at = 0;
  private readonly domain: string;
  private readonly aor: URI;
  private link: Promise<Link> | undefined;
  private closed = false;

  constructor(options: SipClientOptions, relays: Relays, hashes: Hashes) {
    this.options = options;
    this.relays = relays;
    this.hashes = hashes;
    this.domain = options.domain ?? relays.host;
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
    let link: Link | undefined;
    const connection = await this.dial(() => link).catch((error: Error) => {
      throw new SipError(503, "Service Unavailable", error.message);
    });
    const agent = createUserAgent({
      transport: {
        protocol: this.relays.protocol,
        send: (message) => (link?.connection ?? connection).send(message),
      },
      aor: this.aor,
      contact: { user: encodeURIComponent(user), ...placeOf(connection) },
      credentials: { user, password },
      hashes: this.hashes,
      delegate: { onInvite: (invite) => void (link ? invited(link, invite) : invite.reject()) },
      ...(logger ? { logger } : {}),
    });
    const { options, domain } = this;
    const pinging = setInterval(() => link?.connection.ping(), PING_MS);
    letEnd(pinging);
    const held = { dialogs: new Set<Dialog>(), pending: new Set<(reason: string) => void>() };
    link = { connection, agent, pinging, ...held, sessions: new Map<string, Standing>(), options, domain };
    return link;
  }

  /** Tries the nodes one after the other, first the one that was used last. `link`: what lives on the connection. */
  private async dial(link: () => Link | undefined): Promise<Connection> {
    const { addresses } = this.relays;
    const user: ConnectionUser = {
      received: (message) => link()?.agent.receive(message),
      closed: (_connection, reason) => this.disconnected(link(), reason),
    };
    let failure: unknown;
    for (let tried = 0; tried < addresses.length; tried++) {
      try {
        return await addresses[this.at]!.connect(user);
      } catch (error) {
        failure ??= error;
        this.at = (this.at + 1) % addresses.length;
      }
    }
    throw failure;
  }

  private disconnected(link: Link | undefined, reason: string): void {
    if (!link) {
      this.link = undefined;
      return;
    }
    for (const giveUp of [...link.pending]) giveUp(`the connection to the relay was lost: ${reason}`);
    const { reconnectS = RECONNECT_S } = this.options;
    if (this.closed || link.dialogs.size === 0 || reconnectS === 0) this.lost(link, reason);
    else void this.comeBack(link, reason, performance.now() + reconnectS * 1000);
  }

  /** Makes the connection again, and shows the relay in each session where this client is now. */
  private async comeBack(link: Link, reason: string, until: number): Promise<void> {
    let waitMs = AGAIN_LEAST_MS;
    while (!this.closed && link.dialogs.size > 0) {
      try {
        link.connection = await this.dial(() => link);
        for (const dialog of link.dialogs) dialog.comeBack();
        return;
      } catch {
        if (performance.now() + waitMs > until) break;
        await new Promise((resolve) => letEnd(setTimeout(resolve, waitMs)));
        waitMs = Math.min(2 * waitMs, AGAIN_MOST_MS);
      }
    }
    this.lost(link, reason);
  }

  private lost(link: Link, reason: string): void {
    this.link = undefined;
    clearInterval(link.pinging);
    for (const dialog of [...link.dialogs]) dialog.lost(reason);
    link.agent.core.dispose();
  }
}

/** RFC 7118 §5: who cannot be connected to gives a host that is no host. */
const placeOf = ({ localAddress, localPort }: Connection): { readonly host: string; readonly port?: number } =>
  localAddress === undefined || localPort === undefined
    ? { host: `${token(48)}.invalid` }
    : { host: localAddress, port: localPort };

/** In Node, a timer does not keep a process alive that has nothing else to do. */
const letEnd = (timer: unknown): void => (timer as { unref?: () => void }).unref?.();
