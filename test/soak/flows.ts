import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { WebSocket } from "ws";
import { createClient as browserClient } from "../../src/sdk/browser.ts";
import { type AppSession, type Client, createClient, serve } from "../../src/sdk/index.ts";
import type { CertificateFiles } from "./soak.ts";

/* What goes on during the soak: app servers that charge, and clients by every transport that the SDK has. */

/** What was charged, so far as the relay has said that it has it. */
export interface Charged {
  count: number;
}

export interface Shop {
  readonly uri: string;
  close(): Promise<void>;
}

let ids = 0;

/** An app server with the SDK, which charges each session once. */
export async function sipShop(services: readonly string[], charged: Charged): Promise<Shop> {
  const sell = async (session: AppSession) => {
    await session.charge({ id: `c${++ids}`, item: "Riesling", unitPrice: "0.01", currency: "EUR" });
    charged.count++;
  };
  const server = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    services: Object.fromEntries(
      services.map((id) => [
        id,
        (request: Parameters<Parameters<typeof serve>[0]["services"][string]>[0]) => {
          request
            .accept({ url: `https://shop.example/${id}` })
            .then(sell)
            .catch(() => {});
        },
      ]),
    ),
  });
  return { uri: server.uri, close: () => server.close() };
}

/** An app server that speaks HTTP, and charges at the end of each session. */
export async function httpShop(charged: Charged): Promise<Shop> {
  const counted = new Set<string>();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.method === "OPTIONS") return void response.writeHead(204).end();
    const event = JSON.parse(String(Buffer.concat(chunks))) as { type: string; session: string; reason?: string };
    const established = event.type === "session.established";
    if (established) counted.add(event.session);
    const pays = event.type === "session.ended" && counted.delete(event.session);
    if (pays) charged.count++;
    const charge = { id: `h${event.session}`, item: "Corkage", unitPrice: "0.01", currency: "EUR" };
    const said =
      event.type === "session.requested" ? { url: "https://vault.example" } : pays ? { charges: [charge] } : {};
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(said));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/tollgate`,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

export interface Ports {
  readonly tcp: number;
  readonly tls: number;
  readonly ws: number;
  readonly wss: number;
}

/** A client for each transport; `prepaid`: another one, who pays in advance. */
export function clients(ports: Ports, files: CertificateFiles, password: string): Map<string, Client> {
  const ca = files.authority.cert;
  // Node has no WebSocket of its own before version 22. This one has the browser's interface.
  (globalThis as { WebSocket?: unknown }).WebSocket = class extends WebSocket {
    constructor(url: string, protocol: string) {
      super(url, protocol, { ca });
      this.on("error", () => {});
    }
  };
  const alice = { user: "alice", password, domain: "portal.example" };
  const byTcp = `sip:127.0.0.1:${ports.tcp};transport=tcp`;
  return new Map<string, Client>([
    ["tcp", createClient({ ...alice, relay: byTcp })],
    ["tls", createClient({ ...alice, relay: `sips:127.0.0.1:${ports.tls}`, tls: { ca } })],
    ["ws", browserClient({ ...alice, relay: `ws://127.0.0.1:${ports.ws}` })],
    ["wss", browserClient({ ...alice, relay: `wss://127.0.0.1:${ports.wss}` })],
    ["prepaid", createClient({ ...alice, user: "bob", relay: byTcp })],
  ]);
}

type Flow = (client: Client) => Promise<unknown>;

const hold = () => pause(100 + Math.random() * 1_900);

/** What a client does, from its request to the end. */
export const FLOWS: Readonly<Record<string, Flow>> = {
  async call(client) {
    const session = await client.request("cheese");
    await hold();
    await session.end();
  },
  async http(client) {
    const session = await client.request("vault");
    await hold();
    await session.end();
  },
  async change(client) {
    const session = await client.request("cheese");
    await hold();
    await session.change("beer");
    await hold();
    await session.end();
  },
  async move(client) {
    const session = await client.request("cheese");
    await hold();
    const next = await session.move("beer", { keep: false });
    await hold();
    await next.end();
  },
  async fork(client) {
    const sessions = await client.requestAll("books", { max: 2 });
    await hold();
    await Promise.all(sessions.map((session) => session.end()));
  },
};

export interface Done {
  readonly well: Record<string, number>;
  readonly badly: Record<string, number>;
}

/** Begins so many flows a second until told to stop; `ended` resolves when all of them are over. */
export function keepGoing(all: ReadonlyMap<string, Client>, perSecond: number) {
  const done: Done = { well: {}, badly: {} };
  const open = new Set<Promise<void>>();
  const names = Object.keys(FLOWS);
  const by = [...all];
  let begun = 0;
  const timer = setInterval(() => {
    const [transport, client] = by[begun % by.length]!;
    const name = names[Math.floor(begun / by.length) % names.length]!;
    begun++;
    const one = FLOWS[name]!(client)
      .then(
        () => add(done.well, `${name} by ${transport}`),
        (error: { status?: number }) => add(done.badly, `${name} by ${transport}: ${error.status ?? error}`),
      )
      .finally(() => open.delete(one));
    open.add(one);
  }, 1_000 / perSecond);
  return {
    done,
    async ended() {
      clearInterval(timer);
      await Promise.all(open);
      await pause(500); // charges that are on their way
    },
  };
}

const add = (to: Record<string, number>, name: string) => {
  to[name] = (to[name] ?? 0) + 1;
};
