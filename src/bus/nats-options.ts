import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import {
  type Authenticator,
  credsAuthenticator,
  type NodeConnectionOptions,
  nkeyAuthenticator,
  tokenAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";
import type { NatsSettings } from "./settings.ts";

/** The bus cannot be used, and waiting will not help. The message says what is wrong and what to do. */
export class BusError extends Error {}

const DEFAULT_PORT = 4222;

/**
 * The options for the client library. Throws `BusError` if a file cannot be read. Environment: TOLLGATE_NATS_PASSWORD,
 * TOLLGATE_NATS_TOKEN.
 */
export function connectionOptions(settings: NatsSettings, env: NodeJS.ProcessEnv): NodeConnectionOptions {
  const servers = settings.servers.map((server) => new URL(server));
  const tls = settings.tls ?? (servers.some(({ protocol }) => protocol === "tls:") ? {} : undefined);
  const authenticator = signIn(settings, servers, env);
  return {
    servers: servers.map(({ hostname, port }) => `${hostname}:${port || DEFAULT_PORT}`),
    name: "tollgate",
    // `NatsBus` connects again itself. The library waits by the wall clock: if that is set back, it does not try again
    // for as long.
    reconnect: false,
    noAsyncTraces: true,
    timeout: 5_000,
    pingInterval: 3_000,
    maxPingOut: 2,
    ...(authenticator && { authenticator }),
    ...(tls && {
      // The library passes these options to tls.connect as they are, though its type does not say so.
      tls: {
        checkServerIdentity: identityCheck(servers),
        ...(tls.ca && { ca: read("bus.tls.ca", tls.ca) }),
        ...(tls.cert && { cert: read("bus.tls.cert", tls.cert) }),
        ...(tls.key && { key: read("bus.tls.key", tls.key) }),
      } as NodeConnectionOptions["tls"] & object,
    }),
  };
}

/**
 * If the server is an IP address, the library gives TLS no name, and Node checks the certificate for `localhost`. Here
 * it must be for one of the configured addresses instead.
 */
function identityCheck(servers: readonly URL[]): (host: string, certificate: PeerCertificate) => Error | undefined {
  const hosts = servers.map(({ hostname }) => hostname.replace(/^\[|\]$/g, ""));
  const addresses = hosts.filter((host) => isIP(host) !== 0);
  return (host, certificate) => {
    const error = checkServerIdentity(host, certificate);
    if (host !== "localhost" || hosts.includes(host)) return error;
    return addresses.some((address) => checkServerIdentity(address, certificate) === undefined) ? undefined : error;
  };
}

function signIn(settings: NatsSettings, servers: readonly URL[], env: NodeJS.ProcessEnv): Authenticator | undefined {
  const { credentialsFile, nkeyFile, tokenFile, passwordFile } = settings;
  if (credentialsFile !== undefined) return credsAuthenticator(bytes(read("bus.credentialsFile", credentialsFile)));
  if (nkeyFile !== undefined) return nkeyAuthenticator(bytes(read("bus.nkeyFile", nkeyFile).trim()));
  const inUrl = servers.find(({ username }) => username !== "");
  const user = settings.user ?? (inUrl && decodeURIComponent(inUrl.username));
  if (user !== undefined) {
    const password =
      settings.password ??
      (passwordFile !== undefined ? read("bus.passwordFile", passwordFile).trim() : undefined) ??
      (inUrl?.password ? decodeURIComponent(inUrl.password) : undefined) ??
      env.TOLLGATE_NATS_PASSWORD;
    return usernamePasswordAuthenticator(user, password);
  }
  const token =
    settings.token ?? (tokenFile !== undefined ? read("bus.tokenFile", tokenFile).trim() : env.TOLLGATE_NATS_TOKEN);
  return token ? tokenAuthenticator(token) : undefined;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function read(setting: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new BusError(`${setting}: ${(error as Error).message}`);
  }
}

/** The servers without user and password, for messages. */
export function serversOf({ servers }: NatsSettings): string {
  return servers.map((server) => server.replace(/\/\/[^@/]*@/, "//")).join(", ");
}
