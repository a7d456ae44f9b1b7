import { z } from "zod";
import { canonicalHost, isLoopback } from "../support/address.ts";
import { KINDS, OPEN_TRANSPORTS, type TransportName } from "../transport/kinds.ts";
import { HOST_PORT_EXPECTED, isIp, LISTEN_EXPECTED, type ListenAddress, parseHostPort, parseListen } from "./listen.ts";
import { domain, networksSchema, seconds } from "./terms.ts";

/* Where the relay is reached, by SIP and by HTTP, and with which certificates. */

const listenObject = z
  .strictObject({
    transport: z.enum(OPEN_TRANSPORTS as [TransportName, ...TransportName[]]),
    address: z.string().refine(isIp, "an IP address of this machine"),
    port: z.int().min(0).max(65535).exactOptional(),
    advertised: z
      .string()
      .refine((text) => parseHostPort(text).ok, HOST_PORT_EXPECTED)
      .exactOptional(),
    allow: networksSchema.min(1, "at least one network: an empty list would let nobody in").exactOptional(),
    deny: networksSchema.exactOptional(),
    proxyProtocol: networksSchema.exactOptional(),
  })
  .refine(({ transport, proxyProtocol }) => transport !== "udp" || proxyProtocol === undefined, {
    path: ["proxyProtocol"],
    message: "no such setting for udp, which has no connections",
  })
  .transform(({ advertised, ...written }): ListenAddress => {
    const { transport, port = KINDS[transport].port } = written;
    const rest = { ...written, port, address: canonicalHost(written.address) };
    const read = advertised === undefined ? undefined : parseHostPort(advertised);
    return read?.ok ? { ...rest, advertised: read.value } : rest;
  });

export const listenSchema = z.preprocess((value, context) => {
  if (typeof value === "object" && value !== null) return value;
  const read = parseListen(typeof value === "string" ? value : "");
  if (read.ok) return read.value;
  context.addIssue({ code: "custom", message: typeof value === "string" ? read.error : LISTEN_EXPECTED });
  return z.NEVER;
}, listenObject);

/**
 * TLS for SIP, also under secure WebSocket. `ca`: whom to believe where the relay connects to others. `clientCa`: whom
 * to believe in the certificates of those who connect to it.
 */
export const tlsSchema = z
  .strictObject({
    cert: z.string().min(1).exactOptional(),
    key: z.string().min(1).exactOptional(),
    ca: z.string().min(1).exactOptional(),
    clientCa: z.string().min(1).exactOptional(),
    trustedNames: z.array(domain).default([]),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), "cert and key together")
  .refine(({ trustedNames, clientCa }) => trustedNames.length === 0 || clientCa !== undefined, {
    path: ["clientCa"],
    message: "the authorities whose certificates prove trustedNames",
  });

export const webSocketSchema = z.strictObject({
  origins: z
    .array(
      z
        .string()
        .regex(/^https?:\/\/[^\s/?#]+$/i, "the origin of a page, such as https://shop.example")
        .transform((origin) => origin.toLowerCase()),
    )
    .exactOptional(),
  pingS: seconds(0, 3_600).default(30),
});

const httpListenSchema = z.string().transform((text, context) => {
  const read = parseHostPort(text);
  if (read.ok && isIp(read.value.host) && read.value.port !== undefined)
    return { address: canonicalHost(read.value.host), port: read.value.port };
  context.addIssue({ code: "custom", message: "an IP address of this machine and a port, such as 127.0.0.1:8443" });
  return z.NEVER;
});

/** The HTTP API (M17); without `listen` there is none. */
export const httpSchema = z
  .strictObject({
    listen: httpListenSchema.exactOptional(),
    tls: z.strictObject({ cert: z.string().min(1), key: z.string().min(1) }).exactOptional(),
    plain: z.boolean().default(false),
    connections: z.int().min(1).max(100_000).default(512),
    connectionsPerSource: z.int().min(1).max(100_000).default(64),
    perSecond: z.int().min(0).default(200),
    loopbackReads: z.boolean().default(true),
    metrics: z.enum(["off", "loopback", "all"]).default("loopback"),
    metricsTokenFile: z.string().min(1).exactOptional(),
  })
  .refine(({ listen, tls, plain }) => !listen || tls !== undefined || plain || isLoopback(listen.address), {
    path: ["tls"],
    message: "cert and key, since other machines can reach this address (plain: true where a proxy before it has them)",
  });
