import { existsSync, readFileSync } from "node:fs";
import { createServer as createPlainServer, type Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import type { Config } from "../config/schema.ts";
import { systemClock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog, shown } from "../support/peer-log.ts";
import { sourceKey } from "../support/source.ts";
import { ConnectionGate } from "./connection-gate.ts";
import { type HttpSource, HttpSources } from "./http-source.ts";
import { type Answer, problem } from "./problem.ts";

/** What a route finds beside its request. */
export interface Env {
  Bindings: HttpBindings;
  Variables: { sources: HttpSources };
}

export interface HttpServer {
  readonly address: string;
  readonly port: number;
  /** Reads certificate and key again. Throws where they cannot be used: then the former ones hold on. */
  reloadTls(): void;
  /** Takes no more requests, waits for those under way for some seconds, and closes. */
  close(): Promise<void>;
}

export interface HttpOptions {
  readonly config: Config["http"] & { readonly listen: NonNullable<Config["http"]["listen"]> };
  /** Proxies that are believed, as addresses and networks; default none. */
  readonly trustedProxies?: readonly string[];
  readonly log: Logger;
  /** Default: one of its own. */
  readonly peerLog?: PeerLog;
  /** Adds the routes. */
  readonly routes: (app: Hono<Env>) => void;
}

const HEADER_BYTES = 8_192;
const HEADERS_MS = 10_000;
const REQUEST_MS = 20_000;
/** How often requests that do not come to their end are looked for. */
const CHECK_MS = 1_000;
const KEEP_ALIVE_MS = 30_000;
const REQUESTS_PER_CONNECTION = 10_000;
const CLOSE_MS = 3_000;

/**
 * Serves the HTTP API, encrypted where the configuration has a certificate. Rejects where the address is taken or the
 * certificate is bad.
 */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const { config, trustedProxies = [], log, routes } = options;
  const { listen, tls, connections, connectionsPerSource, plain } = config;
  const peerLog = options.peerLog ?? new PeerLog({ log, clock: systemClock });
  const sources = new HttpSources(trustedProxies, plain);
  const app = application(routes, sources, peerLog);
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  const gate = new ConnectionGate({
    clock: systemClock,
    max: connections,
    perSource: connectionsPerSource,
    exempt: (address) => sources.isProxy(address),
    refused: (address, why) => peerLog.info("http: a connection is ended", sourceKey(address), { address, why }),
  });
  const bounds = {
    maxHeaderSize: HEADER_BYTES,
    headersTimeout: HEADERS_MS,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: CHECK_MS,
  };
  const handle: Parameters<typeof createPlainServer>[1] = (incoming, outgoing) => {
    incoming.once("end", () => gate.served(incoming.socket));
    void listener(incoming, outgoing);
  };
  const server: Server | TlsServer = tls
    ? createTlsServer({ ...bounds, ...readTls(tls), minVersion: "TLSv1.2", handshakeTimeout: HEADERS_MS }, handle)
    : createPlainServer(bounds, handle);
  server.on("connection", (socket) => gate.take(socket));
  server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(listen.port, listen.address, () => {
      server.off("error", reject);
      server.on("error", (error) => peerLog.warn("http: a connection could not be accepted", "", { err: error }));
      resolve();
    });
  });
  const { address, port } = server.address() as AddressInfo;
  log.info({ address, port, tls: tls !== undefined }, "http: listening");
  return {
    address,
    port,
    reloadTls: () => {
      if (tls && "setSecureContext" in server) server.setSecureContext({ ...readTls(tls), minVersion: "TLSv1.2" });
    },
    close: () =>
      new Promise((resolve) => {
        const late = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
        server.close(() => {
          clearTimeout(late);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

function readTls({ cert, key }: { readonly cert: string; readonly key: string }): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

function application(routes: HttpOptions["routes"], sources: HttpSources, peerLog: PeerLog): Hono<Env> {
  const app = new Hono<Env>();
  app.use(async (c, next) => {
    c.set("sources", sources);
    await next();
    c.res.headers.set("Cache-Control", "no-store");
    c.res.headers.set("X-Content-Type-Options", "nosniff");
  });
  app.get("/v1/openapi.yaml", (c) => c.body(openApi(), 200, { "Content-Type": "application/yaml" }));
  routes(app);
  app.notFound((c) => answered(c, problem("not-found")));
  app.onError((error, c) => {
    peerLog.error("http: a request failed by a fault of the relay", "", { err: error, path: shown(c.req.path) });
    return answered(c, problem("fault"));
  });
  return app;
}

/** Sends an answer. */
export function answered(c: Context<Env>, { status, contentType, headers, body }: Answer): Response {
  return c.body(`${JSON.stringify(body)}\n`, status as 200, { ...headers, "Content-Type": contentType });
}

const NO_PROXIES = new HttpSources([], false);

/** Where a request comes from. */
export const sourceOf = (c: Context<Env>): HttpSource => (c.get("sources") ?? NO_PROXIES).of(c);

let document: string | undefined;

/** The description of the API, from beside src/ or dist/. */
function openApi(): string {
  const places = ["../../ops/openapi.yaml", "../../../ops/openapi.yaml"].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  document ??= readFileSync(places.find((path) => existsSync(path)) ?? places[0]!, "utf8");
  return document;
}
