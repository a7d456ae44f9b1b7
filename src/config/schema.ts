import { z } from "zod";
import { busSchema } from "../bus/settings.ts";
import { tariffSchema } from "../charging/events/tariff-schema.ts";
import { settlementTerms } from "../charging/money/settlement-terms.ts";
import { taxSchema } from "../charging/money/tax.ts";
import { MAX_TAXES } from "../charging/money/terms.ts";
import { storeSchema } from "../store/settings.ts";
import { telemetrySchema } from "../telemetry/settings.ts";
import { usageSchema } from "../usage/settings.ts";
import { appServerSchema, ruleSchema, serviceSchema } from "./directory-schema.ts";
import { headersSchema } from "./headers.ts";
import { httpAppServersSchema } from "./http-app-servers.ts";
import { parseHostPort } from "./listen.ts";
import { httpSchema, listenSchema, tlsSchema, webSocketSchema } from "./listen-schema.ts";
import { billsSchema, chargingSchema, creditSchema, journalSchema, retentionSchema } from "./money-schema.ts";
import { MAX_DRAIN_S, networksSchema, seconds } from "./terms.ts";
import {
  authenticationSchema,
  identitySchema,
  portalSchema,
  provisioningSchema,
  registrarSchema,
  strangersSchema,
} from "./users-schema.ts";

/*
 * What a configuration may say, and the defaults. Every section may be left out. A message here is a noun phrase for
 * what was expected: load.ts puts "expected" before it and "found ..." after it.
 */

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
