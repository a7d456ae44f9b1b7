// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { z } from "zod";
import { settlementTerms } from "../charging/money/settlement-terms.ts";
import { httpUrlProblem, isHttpUrl } from "../directory/http-address.ts";
import type { AppServer, Rule, Service } from "../directory/types.ts";
import { isOpenTransport, OPEN_TRANSPORTS } from "../transport/kinds.ts";
import { chargeLimits } from "./money-schema.ts";
import { domain, idSchema, MAX_WINDOW_S, seconds } from "./terms.ts";

/* Services, who offers them, and the rules by which a request gets one. */

const forkMode = z.enum(["sequential", "first", "all"]);

const changeProof = z.enum(["answered", "confirmed"]);

const mediaWay = z.enum(["rtpengine", "off"]);

const forkChoices = z.array(z.enum(["single", "sequential", "first", "all"]));

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
