import { createServer as createPlainServer, type Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import type { Context, Hono } from "hono";
import type { Config } from "../config/schema.ts";
import { formatHost } from "../support/address.ts";
import { systemClock } from "../support/clock.ts";
import { listenError } from "../support/listen-error.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import { sourceKey } from "../support/source.ts";
import { Certificates } from "../transport/certificates.ts";
import { ConnectionGate } from "./connection-gate.ts";
import { type HttpSource, HttpSources } from "./http-source.ts";
import type { Answer } from "./problem.ts";
import type { Door } from "./routes.ts";

/** What a route gets besides the request. */
export interface Env {
  Bindings: HttpBindings & { readonly door: Door; readonly sources?: HttpSources };
  Variables: { sources: HttpSources };
}

export interface HttpServer {
  readonly address: string;
  readonly port: number;
  /** Reads certificate and key again. Throws if they cannot be used: then the former ones stay in use. */
  reloadTls(): void;
  /** Takes no more requests, waits some seconds for those under way, and closes. */
  close(): Promise<void>;
}

export interface HttpOptions {
  readonly config: Config["http"] & { readonly listen: NonNullable<Config["http"]["listen"]> };
  /** Proxies that are believed, as addresses and networks; default none. */
  readonly trustedProxies?: readonly string[];
  readonly log: Logger;
  /** Default: a new one. */
  readonly peerLog?: PeerLog;
  readonly app: Hono<Env>;
}

const HEADER_BYTES = 8_192;
const HEADERS_MS = 10_000;
const REQUEST_MS = 20_000;
/** How often to look for requests that do not arrive in full. */
const CHECK_MS = 1_000;
const KEEP_ALIVE_MS = 30_000;
const REQUESTS_PER_CONNECTION = 10_000;
const CLOSE_MS = 3_000;

/**
 * Serves the HTTP API, with TLS if the configuration has a certificate. Rejects if the address is taken or the
 * certificate is bad.
 */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const { config, trustedProxies = [], log, app } = options;
  const { listen, tls, connections, connectionsPerSource, plain } = config;
  const peerLog = options.peerLog ?? new PeerLog({ log, clock: systemClock });
  const sources = new HttpSources(trustedProxies, plain);
  const listener = listenerOf(app, { door: "tcp", sources });
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
  const certificates = tls && new Certificates(tls, systemClock, log);
  let server: Server | TlsServer;
  if (certificates) {
    const secure = createTlsServer({ ...bounds, minVersion: "TLSv1.2", handshakeTimeout: HEADERS_MS }, handle);
    certificates.serve((options) => secure.setSecureContext(options));
    server = secure;
  } else server = createPlainServer(bounds, handle);
  server.on("connection", (socket) => gate.take(socket));
  server.maxRequestsPerSocket = REQUESTS_PER_CONNECTION;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(listenError(`http:${formatHost(listen.address)}:${listen.port}`, error)));
    server.listen({ port: listen.port, host: listen.address, exclusive: true }, () => {
      server.removeAllListeners("error");
      server.on("error", (error) => peerLog.warn("http: a connection could not be accepted", "", { err: error }));
      resolve();
    });
  });
  const { address, port } = server.address() as AddressInfo;
  certificates?.watch();
  log.info({ address, port, tls: tls !== undefined }, "http: listening");
  return {
    address,
    port,
    reloadTls: () => certificates?.reload(true),
    close: () =>
      new Promise((resolve) => {
        certificates?.close();
        const late = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
        server.close(() => {
          clearTimeout(late);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

/** Hands requests to the app, with the door that they came by. */
export function listenerOf(app: Hono<Env>, by: Omit<Env["Bindings"], keyof HttpBindings>) {
  const fetch = (request: Request, env: unknown) => app.fetch(request, { ...(env as HttpBindings), ...by });
  return getRequestListener(fetch, { overrideGlobalObjects: false });
}

/** Sends an answer. */
export function answered(c: Context<Env>, { status, contentType, headers, body }: Answer): Response {
  return c.body(`${JSON.stringify(body)}\n`, status as 200, { ...headers, "Content-Type": contentType });
}

const NO_PROXIES = new HttpSources([], false);

/** Where a request comes from. */
export const sourceOf = (c: Context<Env>): HttpSource => (c.get("sources") ?? NO_PROXIES).of(c);

/** The body; undefined: it is longer than that. */
export async function bodyOf(c: Context<Env>, maxBytes: number): Promise<Buffer | undefined> {
  if (Number(c.req.header("content-length") ?? 0) > maxBytes) return undefined;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (c.req.raw.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > maxBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
