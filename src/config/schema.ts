// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { z } from "zod";
import { busSchema } from "../bus/settings.ts";
import { tariffSchema } from "../charging/events/tariff-schema.ts";
import { amountSchema } from "../charging/money/amount-schema.ts";
import { isCurrency } from "../charging/money/currency.ts";
import { settlementTerms } from "../charging/money/settlement-terms.ts";
import { taxSchema } from "../charging/money/tax.ts";
import { MAX_TAXES } from "../charging/money/terms.ts";
import { httpUrlProblem, isHttpUrl } from "../directory/http-address.ts";
import { KNOWN_USER_AGENTS } from "../directory/offers.ts";
import { compilePattern } from "../directory/pattern.ts";
import { SCANNERS } from "../directory/strangers.ts";
import type { AppServer, Rule, Service } from "../directory/types.ts";
import { storeSchema } from "../store/settings.ts";
import { canonicalHost, formatHost, isLoopback } from "../support/address.ts";
import { isNetwork } from "../support/networks.ts";
import { telemetrySchema } from "../telemetry/settings.ts";
import { isOpenTransport, KINDS, OPEN_TRANSPORTS, type TransportName } from "../transport/kinds.ts";
import { usageSchema } from "../usage/settings.ts";
import { headersSchema } from "./headers.ts";
import { httpAppServersSchema } from "./http-app-servers.ts";
import { HOST_PORT_EXPECTED, isIp, LISTEN_EXPECTED, type ListenAddress, parseHostPort, parseListen } from "./listen.ts";

/*
 * What a configuration may say, and the defaults. Every section may be left out. A message here is a noun phrase for
 * what was expected: load.ts puts "expected" before it and "found ..." after it.
 */

/** Ids of services, app servers, tariffs: they stand in URIs, file names and reports. */
const ID = /^[A-Za-z0-9][A-Za-z0-9._~+-]{0,63}$/;
export const idSchema = z
  .string()
  .regex(ID, "an id of letters, digits and . _ ~ + - (at most 64, a letter or digit first)");

/**
 * A user's name is the user part of a SIP URI, unescaped (RFC 3261 §25.1). `:` would end the user in
 * H(user:realm:password). It is the user's id, unless the domain has users of its own (src/directory/realms.ts).
 */
export const userNameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9\-_.!~*'()&=+$,;?/]{1,64}$/,
    "a user id as in sip:alice@portal.example: letters, digits and - _ . ! ~ * ' ( ) & = + $ , ; ? / (at most 64)",
  );

const currency = z.string().refine(isCurrency, "an ISO 4217 currency code such as EUR");
const domain = z
  .string()
  .regex(/^[A-Za-z0-9._-]+$|^\[?[0-9A-Fa-f:.]+\]?$/, "a host name or IP address such as portal.example");
const seconds = (least: number, most: number) => z.number().min(least).max(most);
/** A month. Nobody needs to charge later than that. */
const MAX_WINDOW_S = 2_678_400;
/** The longest that running sessions may have to end by themselves when the relay stops. */
export const MAX_DRAIN_S = 86_400;
const forkMode = z.enum(["sequential", "first", "all"]);
const changeProof = z.enum(["answered", "confirmed"]);
const mediaWay = z.enum(["rtpengine", "off"]);
const forkChoices = z.array(z.enum(["single", "sequential", "first", "all"]));

const chargeLimits = z.strictObject({
  charge: amountSchema.exactOptional(),
  session: amountSchema.exactOptional(),
  day: amountSchema.exactOptional(),
  currency,
});

export const serviceSchema = z.strictObject({
  id: idSchema,
  title: z.string().max(200).exactOptional(),
  tariff: idSchema.exactOptional(),
  fork: forkMode.exactOptional(),
  clientMayChoose: forkChoices.exactOptional(),
  clock: z.enum(["ack", "answer"]).exactOptional(),
  ringS: z.int().min(1).max(3600).exactOptional(),
  limits: chargeLimits.exactOptional(),
  lateChargesS: seconds(0, MAX_WINDOW_S).exactOptional(),
  advice: z.boolean().exactOptional(),
  ...settlementTerms,
  onMove: z.enum(["end", "keep"]).exactOptional(),
  change: changeProof.exactOptional(),
  callsClients: z.boolean().exactOptional(),
  media: mediaWay.exactOptional(),
}) satisfies z.ZodType<Service>;

export const appServerSchema = z.strictObject({
  id: idSchema,
  uri: z
    .string()
    .regex(
      /^(sips?:([^\s@]+@)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(;[^\s?]*)?|[Hh][Tt][Tt][Pp][Ss]?:.*)$/,
      "a SIP URI such as sip:10.0.0.5:5060;transport=tcp, or a URL such as https://shop.example/tollgate",
    )
    .superRefine((uri, context) => {
      const problem = isHttpUrl(uri) ? httpUrlProblem(uri, true) : undefined;
      if (problem !== undefined) context.addIssue({ code: "custom", message: problem });
      if (isHttpUrl(uri)) return;
      const port = /^sips?:(?:[^\s@]+@)?(?:[^[\]:;]+|\[[^\]]*\]):(\d+)/.exec(uri)?.[1];
      if (port !== undefined && (Number(port) > 65_535 || Number(port) === 0))
        context.addIssue({ code: "custom", message: "a SIP URI with a port from 1 to 65535" });
      const transport = /;transport=([^;]*)/i.exec(uri)?.[1]?.toLowerCase();
      if (transport !== undefined && !isOpenTransport(transport))
        context.addIssue({
          code: "custom",
          message: `a SIP URI with one of the transports ${OPEN_TRANSPORTS.join(", ")}`,
        });
    }),
  services: z.array(idSchema).min(1, "the ids of the services it offers, at least one"),
  priority: z.int().min(0).max(1_000_000).exactOptional(),
  weight: z.number().gt(0).max(1_000_000).exactOptional(),
  capacity: z.int().min(1).exactOptional(),
  certificate: domain.exactOptional(),
  ...settlementTerms,
  mayReferTo: z.array(idSchema).exactOptional(),
  change: changeProof.exactOptional(),
  media: mediaWay.exactOptional(),
}) satisfies z.ZodType<AppServer>;

const patterns = z.record(z.string().min(1), z.string());
/** In the header fields for app servers (RFC 3261 §7.3.1: parameter names are compared without regard to case). */
const attributeName = z.string().regex(/^[a-z0-9][a-z0-9_.-]{0,63}$/, "a name of lower-case letters, digits and _ . -");
const texts = z.record(attributeName, z.string().max(1024));

export const ruleSchema = z.strictObject({
  name: z.string().min(1).max(100),
  when: z
    .strictObject({
      uri: z.string().exactOptional(),
      from: z.string().exactOptional(),
      user: z.string().exactOptional(),
      header: patterns.exactOptional(),
      body: patterns.exactOptional(),
    })
    .default({}),
  then: z.strictObject({
    service: z.string().min(1).max(200).exactOptional(),
    attributes: texts.exactOptional(),
    client: texts.exactOptional(),
    appServers: z.array(idSchema).min(1).exactOptional(),
    fork: forkMode.exactOptional(),
    clientMayChoose: forkChoices.exactOptional(),
    tariff: idSchema.exactOptional(),
    reject: z.int().min(400).max(699).exactOptional(),
  }),
}) satisfies z.ZodType<Rule>;

const networksSchema = z.array(z.string().refine(isNetwork, "an IP address or a network such as 10.0.0.0/8"));

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

const listenSchema = z.preprocess((value, context) => {
  if (typeof value === "object" && value !== null) return value;
  const read = parseListen(typeof value === "string" ? value : "");
  if (read.ok) return read.value;
  context.addIssue({ code: "custom", message: typeof value === "string" ? read.error : LISTEN_EXPECTED });
  return z.NEVER;
}, listenObject);

const portalSchema = z
  .strictObject({
    domain: domain.exactOptional(),
    domains: z.array(domain).min(1).exactOptional(),
    ownUsers: z.array(domain).default([]),
    realm: z
      .string()
      .min(1)
      .max(200)
      .regex(/^[ !#-9;-[\]-~]+$/, "plain text without quotes, colons and backslashes")
      .exactOptional(),
  })
  .refine((portal) => portal.domain === undefined || portal.domains === undefined, "either domain or domains, not both")
  .transform(({ domain, domains, realm, ownUsers }, context) => {
    const all = (domains ?? [domain ?? "localhost"]).map((name) => name.toLowerCase());
    const own = ownUsers.map((name) => canonicalHost(name.toLowerCase()));
    for (const [i, name] of own.entries())
      if (!all.some((one) => canonicalHost(one) === name) || name === (realm ?? all[0]))
        context.addIssue({
          code: "custom",
          path: ["ownUsers", i],
          message: "one of portal.domains, and not the realm of all the others",
        });
    // Domains stand in URIs. The realm stays as it is written, since passwords are hashed with it.
    return { domains: all.map(formatHost), realm: realm ?? all[0]!, ownUsers: own };
  });

const algorithms = z
  .array(z.enum(["sha-256", "md5"]))
  .min(1)
  .refine((list) => new Set(list).size === list.length, "each algorithm once");

const authenticationSchema = z.strictObject({
  algorithms: algorithms.default(["sha-256", "md5"]),
  userAgents: z
    .array(
      z.strictObject({
        userAgent: z.string().superRefine((source, context) => {
          const read = compilePattern(source);
          if (!read.ok) context.addIssue({ code: "custom", message: read.error });
        }),
        algorithms: algorithms,
      }),
    )
    .default(KNOWN_USER_AGENTS),
  nonceLifetimeS: seconds(5, 86_400).default(300),
  fromPassword: z.enum(["off", "tls", "always"]).default("tls"),
  legacyNoQop: z.boolean().default(false),
  fromMustMatch: z.boolean().default(true),
  throttle: z
    .strictObject({
      failures: z.int().min(1).default(5),
      windowS: seconds(1, 86_400).default(60),
      delayS: seconds(1, 3_600).default(2),
      maxDelayS: seconds(1, 86_400).default(300),
      sources: z.int().min(16).max(10_000_000).default(20_000),
      failuresBySource: z.int().min(1).default(100),
      failuresByUser: z.int().min(1).default(100),
    })
    .prefault({}),
});

/** RFC 8588: the operator answers for who calls, with a certificate for telephone numbers (RFC 8226). */
const shakenSchema = z.strictObject({
  certificate: z.string().min(1),
  key: z.string().min(1),
  url: z
    .string()
    .regex(/^https:\/\/[^\s<>"]+$/, "an https URL at which verifiers get the certificate")
    .exactOptional(),
  origid: z.guid("a UUID such as 123e4567-e89b-42d3-a456-426655440000").exactOptional(),
  appServers: z.array(idSchema).exactOptional(),
});

/** RFC 8224: the relay signs what it sends to app servers (M10). */
const identitySchema = z.strictObject({
  url: z
    .string()
    .regex(
      /^https?:\/\/[^\s<>"]+$/,
      "the URL at which app servers reach the relay's HTTP, such as https://portal.example:8443",
    ),
  key: z.string().min(1).exactOptional(),
  certificate: z.string().min(1).exactOptional(),
  shaken: shakenSchema.exactOptional(),
});

/** Who is not even answered. */
const strangersSchema = z.strictObject({
  scanners: z
    .array(
      z.string().superRefine((source, context) => {
        const read = compilePattern(source);
        if (!read.ok) context.addIssue({ code: "custom", message: read.error });
      }),
    )
    .default(SCANNERS),
  unknownUsers: z.int().min(0).default(10),
  windowS: seconds(1, 86_400).default(600),
  dropS: seconds(1, 86_400).default(600),
});

const limitsOf = z.strictObject({
  calls: z.int().min(1).default(50_000),
  branches: z.int().min(1).max(1_000).default(50),
  transactions: z.int().min(1).default(400_000),
  connections: z.int().min(1).default(20_000),
  connectionsOut: z.int().min(1).default(20_000),
  connectionsPerSource: z.int().min(1).default(500),
  handshakesPerSecond: z.int().min(0).default(300),
  firstMessageS: seconds(1, 3_600).default(10),
  stalledS: seconds(1, 3_600).default(10),
  queueBytes: z.int().min(1_048_576).default(134_217_728),
  messageBytes: z.int().min(1_300).max(16_777_216).default(65_535),
  headers: z.int().min(16).max(10_000).default(256),
  perSourcePerSecond: z.int().min(0).default(1_000),
  perUnprovenSourcePerSecond: z.int().min(0).default(200),
  ruleBodyBytes: z.int().min(256).max(1_048_576).default(16_384),
  chargesPerSession: z.int().min(1).max(100_000).default(1_000),
  ringingPerUser: z.int().min(0).exactOptional(),
  sessionsPerUser: z.int().min(0).exactOptional(),
  perSessionPerSecond: z.int().min(0).exactOptional(),
  mayWaitMs: z.int().min(0).max(400).default(50),
  contactsPerUser: z.int().min(1).max(100).default(10),
  contacts: z.int().min(1).max(10_000_000).default(100_000),
});

/**
 * All load from one address may come from one user. So if the address has no bound, the user and the session have none
 * either, unless they are set.
 */
const limitsSchema = limitsOf.transform(({ ringingPerUser, sessionsPerUser, perSessionPerSecond, ...limits }) => {
  const unbounded = limits.perSourcePerSecond === 0;
  return {
    ...limits,
    ringingPerUser: ringingPerUser ?? (unbounded ? 0 : 100),
    sessionsPerUser: sessionsPerUser ?? (unbounded ? 0 : 1_000),
    perSessionPerSecond: perSessionPerSecond ?? (unbounded ? 0 : 100),
  };
});

/** How app servers charge outside of the session's dialog (M15, M17), what is kept of charges, and who is told. */
const chargingSchema = z.strictObject({
  lateChargesS: seconds(0, MAX_WINDOW_S).default(3_600),
  trustAddress: z.boolean().default(false),
  byNats: z.boolean().default(true),
  keepEvents: z.boolean().default(true),
  advice: z.boolean().default(false),
  durable: z.enum(["disk", "standby"]).default("standby"),
  limits: z.array(chargeLimits).default([]),
});

const httpListenSchema = z.string().transform((text, context) => {
  const read = parseHostPort(text);
  if (read.ok && isIp(read.value.host) && read.value.port !== undefined)
    return { address: canonicalHost(read.value.host), port: read.value.port };
  context.addIssue({ code: "custom", message: "an IP address of this machine and a port, such as 127.0.0.1:8443" });
  return z.NEVER;
});

/** The HTTP API (M17); without `listen` there is none. */
const httpSchema = z
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

/**
 * TLS for SIP, also under secure WebSocket. `ca`: whom to believe where the relay connects to others. `clientCa`: whom
 * to believe in the certificates of those who connect to it.
 */
const tlsSchema = z
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

const webSocketSchema = z.strictObject({
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

/**
 * The events on disk that the bus has not taken. From four fifths of `maxBytes` on, or below `minFreeDiskBytes`,
 * there are no new sessions.
 */
const journalSchema = z.strictObject({
  maxBytes: z.int().min(1_048_576).default(1_073_741_824),
  minFreeDiskBytes: z.int().min(0).default(268_435_456),
});

/** What the store forgets; what is not set is kept for ever. */
const retentionSchema = z.strictObject({
  eventsMonths: z.int().min(3).max(1_200).exactOptional(),
  entriesMonths: z.int().min(3).max(1_200).exactOptional(),
  accountsDays: z.int().min(40).max(36_500).exactOptional(),
});

/** Records of requests, for those who ask what became of a call. */
const callsSchema = z.strictObject({
  keepDays: z.number().min(0.01).max(3_650).default(14),
  keepMost: z.int().min(1_000).max(100_000_000).default(100_000),
  keepStrangers: z.int().min(100).max(1_000_000).default(2_000),
  publish: z.boolean().default(true),
  messages: z.enum(["auto", "always", "never"]).default("auto"),
});

/** How tools find both legs of a session. */
const correlationSchema = z.strictObject({
  sessionId: z.boolean().default(true),
  xCallId: z.boolean().default(true),
});

/** RFC 4028 §5: no interval is shorter than 90 s. */
const timerSchema = z.union([
  z.literal("off"),
  z
    .strictObject({
      expiresS: z.int().min(90).max(2_000_000).default(1_800),
      minS: z.int().min(90).max(2_000_000).default(90),
    })
    .refine(({ expiresS, minS }) => minS <= expiresS, { path: ["minS"], message: "at most expiresS" }),
]);

/** What becomes of sessions whose relay was killed, when it starts again. */
const recoverySchema = z.union([
  z.literal("end"),
  z.strictObject({
    withinS: seconds(0, 3_600).default(30),
    reconnectS: seconds(0, 3_600).default(90),
  }),
]);

/** What a node tells the other nodes that share its bus. */
const clusterSchema = z.strictObject({
  zone: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, "the name of a zone such as fra-1: letters, digits and . _ - (at most 64)")
    .exactOptional(),
  address: z.union([z.ipv4(), z.ipv6()]).exactOptional(),
  newWithoutNats: z.boolean().default(true),
  standbys: z.boolean().default(true),
  shared: z.boolean().default(true),
  witness: z.boolean().default(true),
  patienceMs: z.int().min(450).max(8_000).default(5_000),
});

/** What stands on bills besides the charges. */
const billsSchema = z.strictObject({
  operator: z
    .strictObject({
      name: z.string().min(1).max(200),
      lines: z.array(z.string().max(200)).max(20).exactOptional(),
    })
    .exactOptional(),
  numberPrefix: z
    .string()
    .regex(/^[A-Za-z0-9._/-]{0,20}$/, "letters, digits and . _ / - (at most 20)")
    .exactOptional(),
});

/** Of users with a balance or a credit limit. */
const creditSchema = z.strictObject({
  intervalS: seconds(1, 86_400).default(60),
  reserveCharges: amountSchema.default("0"),
  warnS: seconds(0, 3_600).default(10),
  graceS: seconds(1, 86_400).default(60),
  timeoutS: seconds(0.1, 60).default(3),
  whenUnknown: z.enum(["refuse", "allow"]).default("refuse"),
  low: z.array(z.strictObject({ currency, below: amountSchema })).default([]),
});

/** rtpengine, for app servers and services with `media: rtpengine`. */
const mediaSchema = z.strictObject({
  rtpengines: z
    .array(
      z.string().transform((text, context) => {
        const read = parseHostPort(text);
        if (read.ok && read.value.port !== undefined) return { host: read.value.host, port: read.value.port };
        context.addIssue({
          code: "custom",
          message: "where an rtpengine takes commands (listen-ng), such as 10.0.0.9:2223",
        });
        return z.NEVER;
      }),
    )
    .max(64)
    .default([]),
  timeoutMs: z.int().min(100).max(10_000).default(1_500),
  retryS: seconds(1, 3_600).default(5),
  whenUnavailable: z.enum(["refuse", "pass"]).default("refuse"),
  interfaces: z.strictObject({ client: z.string().min(1), server: z.string().min(1) }).exactOptional(),
});

const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).hostname : "");

/** Softphones that get their settings by a QR code. */
const provisioningSchema = z.strictObject({
  url: z
    .string()
    .regex(/^https?:\/\/[^\s<>"?#]+$/, "the URL at which phones reach the relay's HTTP: https://portal.example:8443")
    .refine(
      (url) => url.startsWith("https:") || isLoopback(hostOf(url)),
      "an https URL, since what a phone gets there signs it in",
    ),
  sip: z.string().regex(/^sips?:[^\s<>@]+$/, "where phones send SIP, such as sip:portal.example;transport=tls"),
  minutes: z.number().min(1).max(10_080).default(15),
});

/** For how long clients may register where they are reached (RFC 3261 §10). */
const registrarSchema = z
  .strictObject({
    expiresS: z.int().min(1).max(86_400).default(3_600),
    minExpiresS: z.int().min(1).max(3_600).default(60), // RFC 3261 §10.3: an hour is never too brief
    maxExpiresS: z.int().min(60).max(604_800).default(3_600),
  })
  .refine(({ minExpiresS, maxExpiresS }) => minExpiresS <= maxExpiresS, {
    path: ["minExpiresS"],
    message: "no more than maxExpiresS",
  });

export const configSchema = z.strictObject({
  portal: portalSchema.prefault({}),
  listen: z.array(listenSchema).min(1, "at least one address").prefault(["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]),
  tls: tlsSchema.prefault({}),
  webSocket: webSocketSchema.prefault({}),
  data: z.string().min(1).default("./data"),
  store: storeSchema,
  bus: busSchema,
  roles: z
    .array(z.enum(["relay", "billing"]))
    .min(1, "relay, billing, or both")
    .refine((list) => new Set(list).size === list.length, "each role once")
    .default(["relay", "billing"]),
  trustedProxies: networksSchema.default([]),
  clients: z.strictObject({ networks: networksSchema.default([]) }).prefault({}),
  authentication: authenticationSchema.prefault({}),
  identity: identitySchema.exactOptional(),
  services: z.array(serviceSchema).default([]),
  appServers: z.array(appServerSchema).default([]),
  httpAppServers: httpAppServersSchema.prefault({}),
  tariffs: z.array(tariffSchema).default([]),
  rules: z.array(ruleSchema).default([]),
  headers: headersSchema.prefault({}),
  strangers: strangersSchema.prefault({}),
  limits: limitsSchema.prefault({}),
  charging: chargingSchema.prefault({}),
  journal: journalSchema.prefault({}),
  http: httpSchema.prefault({}),
  timers: z
    .strictObject({
      t1Ms: z.int().min(10).max(10_000).default(500),
      t2Ms: z.int().min(10).max(60_000).default(4_000),
      t4Ms: z.int().min(10).max(60_000).default(5_000),
    })
    .prefault({}),
  session: z
    .strictObject({
      silentS: seconds(0.1, 180).default(8),
      furtherAnswersS: seconds(0, 180).default(30),
      byeAnswerS: seconds(0.1, 30).default(4),
      probeS: seconds(0, 3_600).default(60),
      reconnectS: seconds(0, 3_600).default(5),
      redirects: z.enum(["portal", "service", "off"]).default("portal"),
      moveReportsS: seconds(1, 3_600).default(180),
      maxDurationS: seconds(1, 2_000_000).default(86_400), // a timer of Node takes 24 days at most
      timer: timerSchema.prefault({}),
    })
    .prefault({}),
  calls: callsSchema.prefault({}),
  correlation: correlationSchema.prefault({}),
  registrar: registrarSchema.prefault({}),
  media: mediaSchema.prefault({}),
  provisioning: provisioningSchema.exactOptional(),
  recovery: recoverySchema.prefault({}),
  cluster: clusterSchema.prefault({}),
  health: z
    .strictObject({
      intervalS: seconds(0, 3_600).default(10),
      failures: z.int().min(1).max(100).default(2),
      maxRestS: seconds(0, 86_400).default(300),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z.enum(["trace", "debug", "info", "warn", "error", "silent"]).default("info"),
      pretty: z.union([z.boolean(), z.literal("auto")]).default("auto"),
    })
    .prefault({}),
  retention: retentionSchema.prefault({}),
  credit: creditSchema.prefault({}),
  taxes: z.array(taxSchema).max(MAX_TAXES).default([]),
  settlement: z.strictObject(settlementTerms).prefault({}),
  bills: billsSchema.prefault({}),
  usage: usageSchema.default([]),
  telemetry: telemetrySchema.prefault({}),
  drainS: seconds(0, MAX_DRAIN_S).default(30),
});

/** A configuration that was checked, with every default filled in. See ops/tollgate.yaml for what each setting does. */
export type Config = z.output<typeof configSchema>;
