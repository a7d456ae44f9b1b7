import { z } from "zod";
import { isOpen, isPostUrl } from "../support/http-urls.ts";

/*
 * `usage:` of the configuration: where usage is sent by HTTP. What each preset sends: src/usage/presets.ts.
 */

/** Events that go over the bus; `cloudevents` may send any of them. */
export const EVENT_TYPES = [
  "session.started",
  "session.changed",
  "session.ended",
  "session.moved",
  "charge.made",
  "charge.refused",
  "credit.reserved",
  "credit.low",
  "credit.exhausted",
] as const;
/** What a meter can count. */
const METERED = ["session.ended", "charge.made"] as const;
const DEFAULT_URLS = {
  openmeter: "https://openmeter.cloud",
  lago: "https://api.getlago.com",
  stripe: "https://api.stripe.com",
} as const;

/** How many events a request has where nothing is set. Lago takes at most 100; Stripe has no requests for several. */
const DEFAULT_BATCHES = { cloudevents: 1, openmeter: 100, lago: 100, stripe: 1 } as const;
/** The most that any of them gets in one request, which is also what Lago takes. */
export const BATCH_MOST = 100;

/** `{service}` and the like are put in when an event is sent. */
const meter = z
  .string()
  .regex(/^[A-Za-z0-9_.{}:-]{1,100}$/, "a meter's name, which may have {service}, {appServer} and {currency} in it")
  .refine(
    (name) => !/[{}]/.test(name.replace(/\{(service|appServer|currency)\}/g, "")),
    "in braces: service, appServer or currency",
  );
const seconds = (least: number, most: number) => z.number().min(least).max(most);
const file = z.string().min(1);

const sinkSchema = z
  .strictObject({
    preset: z.enum(["cloudevents", "openmeter", "lago", "stripe"]),
    id: z
      .string()
      .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, "a short name of lower-case letters, digits and -")
      .exactOptional(),
    url: z
      .string()
      .refine(isPostUrl, "a URL such as https://billing.example/usage, without a user, a query and a fragment")
      .exactOptional(),
    plain: z.boolean().default(false),
    keyFile: file.exactOptional(),
    secretFile: file.exactOptional(),
    formerSecretFile: file.exactOptional(),
    events: z
      .array(z.enum(EVENT_TYPES))
      .min(1, `at least one of ${EVENT_TYPES.join(", ")}`)
      .exactOptional(),
    services: z.array(z.string().min(1)).min(1, "the ids of services, at least one").exactOptional(),
    meters: z.strictObject({ time: meter.exactOptional(), charges: meter.exactOptional() }).prefault({}),
    chargesBy: z.enum(["amount", "quantity"]).default("amount"),
    customersFile: file.exactOptional(),
    source: z
      .string()
      .regex(/^[^\s<>"]{1,200}$/, "a URI that says where the events come from")
      .default("urn:tollgate"),
    batchMost: z.int().min(1).max(BATCH_MOST).exactOptional(),
    concurrency: z.int().min(1).max(64).default(8),
    timeoutS: seconds(1, 60).default(15),
    retryMostS: seconds(1, 3_600).default(300),
    giveUpS: seconds(60, 3_024_000).default(259_200),
    waitingMost: z.int().min(1_000).max(100_000_000).default(1_000_000),
  })
  .superRefine(({ preset, url, plain, events, secretFile, formerSecretFile, batchMost = 1 }, context) => {
    const wrong = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (preset === "cloudevents" && url === undefined) wrong("url", "the URL to which events are posted");
    if (url !== undefined && !plain && isOpen(url))
      wrong("url", "an https URL, since keys and usage go there (plain: true where something else keeps them secret)");
    if (preset !== "cloudevents" && events?.some((type) => !isMetered(type)))
      wrong("events", `of ${METERED.join(" and ")}, which meters count`);
    if (preset !== "cloudevents" && secretFile !== undefined)
      wrong("secretFile", "preset: cloudevents, which alone is signed; others sign in with keyFile");
    if (preset === "stripe" && batchMost > 1)
      wrong("batchMost", "1, or no such line: Stripe takes one meter event in a request");
    if (formerSecretFile !== undefined && secretFile === undefined) wrong("secretFile", "the present secret as well");
  })
  .transform((sink) => ({
    ...sink,
    id: sink.id ?? sink.preset,
    url: sink.url ?? DEFAULT_URLS[sink.preset as keyof typeof DEFAULT_URLS],
    batchMost: sink.batchMost ?? DEFAULT_BATCHES[sink.preset],
    events: new Set<string>(sink.events ?? (sink.preset === "cloudevents" ? EVENT_TYPES : METERED)),
  }));

/** The sinks, each under a name of its own. */
export const usageSchema = z
  .array(sinkSchema)
  .max(16)
  .superRefine((sinks, context) => {
    const seen = new Set<string>();
    for (const [i, { id }] of sinks.entries()) {
      if (seen.has(id)) context.addIssue({ code: "custom", path: [i, "id"], message: "an id of its own" });
      seen.add(id);
    }
  });

/** Where usage goes, and how: one entry of `usage`. */
export type UsageSink = z.output<typeof sinkSchema>;

const isMetered = (type: string): boolean => (METERED as readonly string[]).includes(type);
