import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from "jose";
import { type AppSession, type ChargeInput, type ServiceRequest, serve } from "../../src/sdk/index.ts";

/*
 * App servers as tests see them, whichever protocol they speak: one on the SDK, one that speaks HTTP and nothing else.
 * The same tests run over both.
 */

/** What an app server decides. `silent`: it says nothing. */
export type Decision =
  | { readonly url: string }
  | { readonly refuse: number; readonly reason?: string; readonly retryAfter?: number }
  | "silent";

/** A request as the app server sees it. */
export interface Asked {
  readonly service: string;
  readonly user: string | undefined;
  readonly description: string | undefined;
  readonly attributes: Readonly<Record<string, string>>;
}

/** A session of the app server's. */
export interface Visit {
  readonly service: () => string;
  readonly ended: Promise<void>;
  charge(charge: ChargeInput): Promise<unknown>;
  end(): Promise<unknown>;
  change(service: string): Promise<unknown>;
  move(to: string, keep?: boolean): Promise<unknown>;
}

export interface Shop {
  readonly uri: string;
  readonly asked: Asked[];
  /** Its sessions, in the order in which they were established. */
  readonly visits: Visit[];
  close(): Promise<void>;
}

export interface ShopOptions {
  readonly services: readonly string[];
  readonly decide?: (asked: Asked) => Decision | Promise<Decision>;
  /** What it charges at the end, where the other end hangs up. */
  readonly atEnd?: () => readonly ChargeInput[];
  /** Default: any. */
  readonly port?: number;
}

export type Protocol = "sip" | "http";
export const PROTOCOLS: readonly Protocol[] = ["sip", "http"];

/** Where the relay's HTTP is, and what the app server signs in with; known once the relay runs. */
export interface Portal {
  readonly port: number;
  readonly bearer: string;
  readonly jwks: () => JSONWebKeySet;
}

export const openShop = (protocol: Protocol, options: ShopOptions, portal: () => Portal): Promise<Shop> =>
  protocol === "sip" ? openSipShop(options) : openHttpShop(options, portal);

const accepting = () => ({ url: "http://shop.example/" });

async function openSipShop({ services, decide = accepting, atEnd, port = 0 }: ShopOptions): Promise<Shop> {
  const asked: Asked[] = [];
  const visits: Visit[] = [];
  const handler = async (request: ServiceRequest) => {
    const { service, user, description, attributes } = request;
    const seen = { service, user, description: description?.content, attributes };
    asked.push(seen);
    const decision = await decide(seen);
    if (decision === "silent") return;
    if ("refuse" in decision) {
      request.refuse(decision.refuse, decision.reason);
      return;
    }
    const session = await request.accept(decision);
    if (!visits.some((visit) => (visit as SipVisit).session === session)) visits.push(new SipVisit(session));
    if (atEnd) session.onEnd(atEnd);
  };
  const server = await serve({
    listen: { host: "127.0.0.1", port },
    services: Object.fromEntries(services.map((service) => [service, handler])),
  });
  return { uri: server.uri, asked, visits, close: () => server.close() };
}

class SipVisit implements Visit {
  readonly ended: Promise<void>;
  readonly session: AppSession;

  constructor(session: AppSession) {
    this.session = session;
    this.ended = session.ended.then(() => {});
  }

  readonly service = () => this.session.service;
  charge = (charge: ChargeInput) => this.session.charge(charge);
  end = () => this.session.end();
  change = (service: string) => this.session.change(service);
  move = (to: string, keep?: boolean) =>
    this.session.refer(`sip:${to}@portal.example`, keep === undefined ? {} : { keep });
}

/** An event, as it came. */
export interface Told {
  readonly id: string;
  readonly type: string;
  readonly session: string;
  readonly service?: string;
  readonly user?: string;
  readonly changes?: string;
  readonly reason?: string;
  readonly by?: string;
}

export interface HttpShop extends Shop {
  readonly port: number;
  /** Everything that it was told or asked, repetitions too. */
  readonly told: Told[];
  /** Answers events with this status, while it is set. */
  failsWith: number | undefined;
  readonly authorizations: string[];
  /** The header field of each request; undefined: it had none. */
  readonly traceparents: (string | undefined)[];
}

export async function openHttpShop(
  { services, decide = accepting, atEnd, port = 0 }: ShopOptions,
  portal: () => Portal,
): Promise<HttpShop> {
  const asked: Asked[] = [];
  const visits: Visit[] = [];
  const byId = new Map<string, HttpVisit>();
  const told: Told[] = [];
  const server = createServer((request, response) => void answer(request, response));
  const shop = {
    asked,
    visits,
    told,
    authorizations: [] as string[],
    traceparents: [] as (string | undefined)[],
    failsWith: undefined as number | undefined,
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method === "OPTIONS") return void response.writeHead(204).end();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    shop.authorizations.push(request.headers.authorization ?? "");
    shop.traceparents.push(request.headers.traceparent as string | undefined);
    if (!(await isSigned(request.headers.authorization, body, portal(), request.headers.host ?? "")))
      return void response.writeHead(401).end();
    const event = JSON.parse(body.toString()) as Told & Asked & { description?: { content: string } };
    told.push(event);
    if (event.type !== "session.requested" && shop.failsWith !== undefined)
      return void response.writeHead(shop.failsWith).end();
    const say = (said: object) => {
      response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(said));
    };
    switch (event.type) {
      case "session.requested": {
        const { service, user, attributes, description } = event;
        const seen: Asked = { service, user, description: description?.content, attributes };
        asked.push(seen);
        const decision = services.includes(service) ? await decide(seen) : { refuse: 404 };
        if (decision === "silent") return;
        if ("url" in decision) return say(decision);
        const { refuse, reason, retryAfter } = decision;
        const headers = retryAfter === undefined ? {} : { "Retry-After": String(retryAfter) };
        return void (
          reason === undefined ? response.writeHead(refuse, headers) : response.writeHead(refuse, reason, headers)
        ).end();
      }
      case "session.established":
        if (!byId.has(event.session)) {
          const visit = new HttpVisit(event.session, event.service!, portal);
          byId.set(event.session, visit);
          visits.push(visit);
        }
        return say({});
      case "session.changed": {
        const visit = byId.get(event.changes!);
        if (visit) byId.set(event.session, visit);
        visit?.isNow(event.session, event.service!);
        return say({});
      }
      default: {
        const visit = byId.get(event.session);
        visit?.over();
        return say(visit && atEnd && event.by === undefined ? { charges: atEnd() } : {});
      }
    }
  }

  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const at = (server.address() as AddressInfo).port;
  return Object.assign(shop, {
    uri: `http://127.0.0.1:${at}/tollgate`,
    port: at,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  });
}

/** What any library for JWTs does, and a hash. */
async function isSigned(
  authorization: string | undefined,
  body: Buffer,
  { port, jwks }: Portal,
  host: string,
): Promise<boolean> {
  try {
    const token = authorization?.replace(/^Bearer /, "") ?? "";
    const { payload } = await jwtVerify(token, createLocalJWKSet(jwks()), {
      issuer: `http://127.0.0.1:${port}`,
      audience: `http://${host}`,
      maxTokenAge: 60,
    });
    return payload.sha256 === createHash("sha256").update(body).digest("hex");
  } catch {
    return false;
  }
}

/** An answer of the relay's API that is no success. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(`${status}: ${text}`);
    this.status = status;
  }
}

class HttpVisit implements Visit {
  readonly ended: Promise<void>;
  over!: () => void;
  private session: string;
  private now: string;
  private readonly portal: () => Portal;
  private charges = 0;

  constructor(session: string, service: string, portal: () => Portal) {
    this.session = session;
    this.now = service;
    this.portal = portal;
    this.ended = new Promise((resolve) => {
      this.over = resolve;
    });
  }

  readonly service = () => this.now;

  isNow(session: string, service: string): void {
    this.session = session;
    this.now = service;
  }

  charge = (charge: ChargeInput) => {
    const withId = { id: `c${++this.charges}`, ...charge };
    return this.post("/v1/charges", { session: this.session, charges: [withId] });
  };
  end = () => this.post(`/v1/sessions/${this.session}/end`, {});
  change = async (service: string) => {
    const said = (await this.post(`/v1/sessions/${this.session}/change`, { service })) as {
      session: string;
      service: string;
    };
    this.isNow(said.session, said.service);
  };
  move = (to: string, keep?: boolean) => this.post(`/v1/sessions/${this.session}/move`, { to, keep });

  private async post(path: string, body: object): Promise<unknown> {
    const { port, bearer } = this.portal();
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${bearer}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Refused(answer.status, text);
    return JSON.parse(text);
  }
}
