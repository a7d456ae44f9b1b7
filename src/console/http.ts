import { existsSync, readFileSync } from "node:fs";
import { createServer as createPlainServer, type Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import type { Config } from "../config/schema.ts";
import { canonicalHost } from "../support/address.ts";
import type { Logger } from "../support/log.ts";
import { type Answer, problem } from "./problem.ts";

/** What a route finds beside its request. */
export interface Env {
  Bindings: HttpBindings;
  Variables: { plain: boolean };
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
  readonly log: Logger;
  /** Adds the routes. */
  readonly routes: (app: Hono<Env>) => void;
}

const HEADER_BYTES = 8_192;
const HEADERS_MS = 10_000;
const REQUEST_MS = 20_000;
const KEEP_ALIVE_MS = 30_000;
const REQUESTS_PER_CONNECTION = 10_000;
const CLOSE_MS = 3_000;

/** Serves the HTTP API, encrypted where the configuration has a certificate. Rejects where the address is taken or the certificate is bad. */
export async function startHttp({ config, log, routes }: HttpOptions): Promise<HttpServer> {
  const { listen, tls, connections, plain } = config;
  const listener = getRequestListener(application(routes, plain, log).fetch, { overrideGlobalObjects: false });
  const bounds = {
    maxHeaderSize: HEADER_BYTES,
    headersTimeout: HEADERS_MS,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
  };
  const handle: Parameters<typeof createPlainServer>[1] = (incoming, outgoing) => void listener(incoming, outgoing);
  const server: Server | TlsServer = tls
    ? createTlsServer({ ...bounds, ...readTls(tls), minVersion: "TLSv1.2", handshakeTimeout: HEADERS_MS }, handle)
    : createPlainServer(bounds, handle);
  server.maxConnections = connections;
  server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(listen.port, listen.address, () => {
      server.off("error", reject);
      server.on("error", (error) => log.warn({ err: error }, "http: a connection could not be accepted"));
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

function application(routes: HttpOptions["routes"], plain: boolean, log: Logger): Hono<Env> {
  const app = new Hono<Env>();
  app.use(async (c, next) => {
    c.set("plain", plain);
    await next();
    c.res.headers.set("Cache-Control", "no-store");
    c.res.headers.set("X-Content-Type-Options", "nosniff");
  });
  app.get("/v1/openapi.yaml", (c) => c.body(openApi(), 200, { "Content-Type": "application/yaml" }));
  routes(app);
  app.notFound((c) => answered(c, problem("not-found")));
  app.onError((error, c) => {
    log.error({ err: error, path: c.req.path }, "http: a request failed by a fault of the relay");
    return answered(c, problem("fault"));
  });
  return app;
}

/** Sends an answer. */
export function answered(c: Context<Env>, { status, contentType, headers, body }: Answer): Response {
  return c.body(`${JSON.stringify(body)}\n`, status as 200, { ...headers, "Content-Type": contentType });
}

/** The address of whoever asks. Behind a proxy (`plain`) it is what that one has noted last. */
export function sourceOf(c: Context<Env>): string {
  const forwarded = c.get("plain") ? c.req.header("x-forwarded-for")?.split(",").at(-1)?.trim() : undefined;
  return canonicalHost((forwarded || c.env.incoming.socket.remoteAddress || "").slice(0, 64));
}

let document: string | undefined;

/** The description of the API, from beside src/ or dist/. */
function openApi(): string {
  const places = ["../../ops/openapi.yaml", "../../../ops/openapi.yaml"].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  document ??= readFileSync(places.find((path) => existsSync(path)) ?? places[0]!, "utf8");
  return document;
}
