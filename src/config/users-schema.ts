import { z } from "zod";
import { KNOWN_USER_AGENTS } from "../directory/offers.ts";
import { compilePattern } from "../directory/pattern.ts";
import { SCANNERS } from "../directory/strangers.ts";
import { canonicalHost, formatHost, isLoopback } from "../support/address.ts";
import { domain, idSchema, seconds } from "./terms.ts";

/* Who users are, how they sign in and register, what the relay says of them to app servers, and who is no user. */

export const portalSchema = z
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

export const authenticationSchema = z.strictObject({
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
export const identitySchema = z.strictObject({
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
export const strangersSchema = z.strictObject({
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

/** For how long clients may register where they are reached (RFC 3261 §10). */
export const registrarSchema = z
  .strictObject({
    expiresS: z.int().min(1).max(86_400).default(3_600),
    minExpiresS: z.int().min(1).max(3_600).default(60), // RFC 3261 §10.3: an hour is never too brief
    maxExpiresS: z.int().min(60).max(604_800).default(3_600),
  })
  .refine(({ minExpiresS, maxExpiresS }) => minExpiresS <= maxExpiresS, {
    path: ["minExpiresS"],
    message: "no more than maxExpiresS",
  });

const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).hostname : "");

/** Softphones that get their settings by a QR code. */
export const provisioningSchema = z.strictObject({
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
