import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";

/*
 * Endpoints that check what those whom they stand for document: OpenMeter (openmeter.io/docs/metering/events), Lago
 * (docs.getlago.com/api-reference/events/usage and /batch), Stripe (docs.stripe.com/api/billing/meter-event/create) and
 * Standard Webhooks 1.0.0.
 */

interface Given {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** An HTTP server that answers as `check` says. */
export class TestEndpoint {
  /** The ids of what it took, in order; and of what it had before. */
  readonly taken: string[] = [];
  readonly again: string[] = [];
  /** What was wrong, in the words of the answers. */
  readonly complaints: string[] = [];
  readonly given: Given[] = [];
  /** Answers in place of the check, one for each request; then the check answers. */
  readonly first: Answer[] = [];
  /** Answers in place of the check as long as it is set. */
  always: ((given: Given) => Answer | undefined) | undefined;
  private server: Server | undefined;
  private port = 0;
  private readonly check: (given: Given, endpoint: TestEndpoint) => Answer;
  private waits: { readonly count: number; resolve(): void }[] = [];

  constructor(check: (given: Given, endpoint: TestEndpoint) => Answer) {
    this.check = check;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  async start(): Promise<this> {
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const given = {
          path: request.url ?? "",
          headers: request.headers,
          body: Buffer.concat(chunks).toString("utf8"),
        };
        this.given.push(given);
        const { status, body, headers = {} } = this.first.shift() ?? this.always?.(given) ?? this.check(given, this);
        if (status >= 400) this.complaints.push(JSON.stringify(body ?? status));
        response.writeHead(status, { "content-type": "application/json", ...headers });
        response.end(body === undefined ? undefined : JSON.stringify(body));
        this.waits = this.waits.filter((wait) => this.given.length < wait.count || wait.resolve());
      });
    });
    await new Promise<void>((resolve) => this.server!.listen(this.port, "127.0.0.1", resolve));
    this.port = (this.server.address() as AddressInfo).port;
    return this;
  }

  /** Notes what it took; false: it had it before. */
  take(id: string): boolean {
    const isNew = !this.taken.includes(id);
    (isNew ? this.taken : this.again).push(id);
    return isNew;
  }

  /** Resolves when so many requests have come in all. */
  has(count: number): Promise<void> {
    if (this.given.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.waits.push({ count, resolve }));
  }

  /** It can be started again at the same address. */
  async stop(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    server?.closeAllConnections();
    await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  }
}

const KEY = "test_key_1";
export const apiKey = KEY;

const signsIn = ({ headers }: Given): boolean => headers.authorization === `Bearer ${KEY}`;
const isText = (value: unknown): value is string => typeof value === "string" && value !== "";

/** What is wrong with a CloudEvent in JSON (CloudEvents 1.0.2 §2, §3). */
function cloudEventProblem(event: Record<string, unknown>): string | undefined {
  if (event.specversion !== "1.0") return "specversion";
  for (const name of ["id", "source", "type"]) if (!isText(event[name])) return name;
  if (!isText(event.time) || Number.isNaN(Date.parse(event.time))) return "time";
  for (const name of Object.keys(event)) if (!/^[a-z0-9]+$/.test(name)) return `attribute ${name}`;
  return undefined;
}

type CloudEvent = Record<string, unknown> & { readonly id: string; readonly source: string };

/** The CloudEvents in a request, structured or batched (HTTP binding §3.2, §3.3); or what is wrong. */
export function cloudEventsIn({ headers, body }: Pick<Given, "headers" | "body">): CloudEvent[] | string {
  const type = String(headers["content-type"]).replace(/;.*$/s, "");
  const isBatch = type === "application/cloudevents-batch+json";
  if (!isBatch && type !== "application/cloudevents+json") return "content-type";
  const json = JSON.parse(body) as unknown;
  if (Array.isArray(json) !== isBatch) return "a batch, and nothing else, is a JSON array (JSON format §4.1)";
  const events = (isBatch ? json : [json]) as CloudEvent[];
  return events.map(cloudEventProblem).find((problem) => problem !== undefined) ?? events;
}

/**
 * POST /api/v1/events: 204. It compares the content type as a text. Events are taken one after the other, up to the
 * first one that is not valid; a repetition (id and source) is taken and ignored. Meters sum `$.seconds` and `$.amount`
 * by subject.
 */
export const openMeter = (): TestEndpoint =>
  new TestEndpoint((given, endpoint) => {
    if (given.path !== "/api/v1/events") return { status: 404 };
    if (!signsIn(given)) return { status: 401, body: { title: "Unauthorized" } };
    const wrong = (detail: string) => ({ status: 400, body: { title: "Bad Request", detail } });
    if (!/^application\/cloudevents(-batch)?\+json$/.test(given.headers["content-type"] ?? ""))
      return wrong(`invalid content type: ${given.headers["content-type"]}`);
    const events = cloudEventsIn(given);
    if (typeof events === "string") return wrong(events);
    for (const event of events) {
      const { seconds, amount } = event.data as Record<string, unknown>;
      if (!isText(event.subject) || event.subject.startsWith("no-")) return wrong("subject");
      if (Number.isNaN(Number(seconds ?? amount))) return wrong("value");
      endpoint.take(`${event.source} ${event.id}`);
    }
    return { status: 204 };
  });

/** What is wrong with an event, as Lago says it; undefined: nothing. */
function lagoProblem(event: Record<string, unknown> | undefined, endpoint: TestEndpoint): object | undefined {
  for (const name of ["transaction_id", "external_subscription_id", "code"])
    if (!isText(event?.[name])) return { [name]: ["value_is_mandatory"] };
  if (!/^\d{10}(\.\d{1,3})?$/.test(String(event!.timestamp))) return { timestamp: ["invalid_format"] };
  if (String(event!.external_subscription_id).startsWith("no-"))
    return { external_subscription_id: ["subscription_not_found"] };
  const id = event!.transaction_id as string;
  if (!endpoint.taken.includes(id)) return undefined;
  endpoint.take(id);
  return { transaction_id: ["value_already_exist"] };
}

/**
 * POST /api/v1/events and /api/v1/events/batch: 200; 422 for what it has had, and for what is not valid. A batch has at
 * most 100 events, and is taken as a whole or not at all; `error_details` has the failures by their places.
 */
export const lago = (): TestEndpoint =>
  new TestEndpoint((given, endpoint) => {
    const isBatch = given.path === "/api/v1/events/batch";
    if (!isBatch && given.path !== "/api/v1/events") return { status: 404 };
    if (!signsIn(given)) return { status: 401, body: { status: 401, error: "Unauthorized" } };
    if (given.headers["content-type"] !== "application/json") return { status: 415 };
    const details = (error_details: object) => ({
      status: 422,
      body: { status: 422, error: "Unprocessable Entity", code: "validation_errors", error_details },
    });
    const { event, events } = JSON.parse(given.body) as {
      event?: Record<string, unknown>;
      events?: Record<string, unknown>[];
    };
    if (isBatch && !events?.length) return details({ events: ["no_events"] });
    if (isBatch && events!.length > 100) return details({ events: ["too_many_events"] });
    const of = isBatch ? events! : [event!];
    const problems = of.map((one) => lagoProblem(one, endpoint));
    const found = problems.flatMap((problem, place) => (problem ? [[place, problem] as const] : []));
    if (found.length > 0) return details(isBatch ? Object.fromEntries(found) : found[0]![1]);
    for (const one of of) endpoint.take(one.transaction_id as string);
    return { status: 200, body: isBatch ? { events } : { event } };
  });

/** POST /v1/billing/meter_events: 200; 400 for what is not valid, and for an identifier that it has had. `now`: ms. */
export const stripe = (now: () => number): TestEndpoint => {
  const meters = new Set<string>();
  return new TestEndpoint((given, endpoint) => {
    const wrong = (message: string, status = 400) => ({
      status,
      body: { error: { type: "invalid_request_error", message } },
    });
    const { headers } = given;
    if (given.path !== "/v1/billing/meter_events") return wrong("Unrecognized request URL", 404);
    if (!signsIn(given)) return wrong("Invalid API Key provided", 401);
    if (headers["content-type"] !== "application/x-www-form-urlencoded") return wrong("not form-encoded");
    if (!/^\d{4}-\d\d-\d\d(\.\w+)?$/.test(String(headers["stripe-version"]))) return wrong("Stripe-Version");
    const form = new URLSearchParams(given.body);
    for (const name of form.keys())
      if (!/^(event_name|identifier|timestamp|payload\[(stripe_customer_id|value)\])$/.test(name))
        return wrong(`Received unknown parameter: ${name}`);
    const [name, identifier, at] = ["event_name", "identifier", "timestamp"].map((key) => form.get(key) ?? "");
    if (!name || name.length > 100) return wrong("event_name");
    meters.add(name);
    if (!identifier || identifier.length > 100) return wrong("identifier: at most 100 characters");
    const age = now() / 1000 - Number(at);
    if (!/^\d+$/.test(at!) || age > 35 * 86_400 || age < -300) return wrong("timestamp");
    if (!/^cus_\w+$/.test(form.get("payload[stripe_customer_id]") ?? "")) return wrong("stripe_customer_id");
    if (!/^-?\d+$/.test(form.get("payload[value]") ?? "")) return wrong("value must be a whole number");
    if (!endpoint.take(identifier)) return wrong(`An event already exists with identifier ${identifier}`);
    return { status: 200, body: { object: "billing.meter_event", identifier } };
  });
};

/**
 * A receiver of webhooks by Standard Webhooks 1.0.0 that knows one secret. What it has had under the same `webhook-id`
 * it does not look at; all else it counts, as a receiver does that trusts in that id alone.
 */
export const webhook = (secret: string, now: () => number): TestEndpoint => {
  const had = new Map<string, string>();
  return new TestEndpoint((given, endpoint) => {
    const { "webhook-id": id, "webhook-timestamp": at } = given.headers;
    if (!isSignedBy(secret, given) || String(id).includes(".")) return { status: 401, body: "signature" };
    if (Math.abs(now() / 1000 - Number(at)) > 300) return { status: 400, body: "timestamp" };
    const events = cloudEventsIn(given);
    if (typeof events === "string") return { status: 400, body: events };
    const ids = JSON.stringify(events.map((event) => event.id));
    if (had.has(String(id)))
      return had.get(String(id)) === ids ? { status: 200 } : { status: 400, body: "another body" };
    had.set(String(id), ids);
    for (const event of events) endpoint.take(event.id);
    return { status: 200, body: {} };
  });
};

/** "v1,", base64 of HMAC-SHA256 over id, timestamp and body; several of them with blanks between them. */
function isSignedBy(secret: string, { headers, body }: Given): boolean {
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature } = headers;
  const key = Buffer.from(secret.slice("whsec_".length), "base64");
  const expected = createHmac("sha256", key).update(`${id}.${at}.${body}`).digest();
  return String(signature)
    .split(" ")
    .some((one) => {
      const mac = Buffer.from(one.replace(/^v1,/, ""), "base64");
      return one.startsWith("v1,") && mac.length === expected.length && timingSafeEqual(mac, expected);
    });
}
