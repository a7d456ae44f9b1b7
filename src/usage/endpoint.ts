import { readFileSync, statSync } from "node:fs";
import type { ChargingEvent } from "../charging/events/events.ts";
import type { Clock } from "../support/clock.ts";
import type { Outgoing } from "../support/http-send.ts";
import { err, type Result } from "../support/result.ts";
import { spanIdOf, traceparent } from "../support/trace-ids.ts";
import { formFor, itemFor } from "./presets.ts";
import type { UsageSink } from "./settings.ts";
import { messageId, secretOctets, signed } from "./signature.ts";

/** The version whose answers this program knows. An account's own version does not matter then. */
const STRIPE_VERSION = "2025-04-30.basil";

/** What cannot be used in a sink's files. */
export class UsageMistake extends Error {
  readonly field: "keyFile" | "secretFile" | "formerSecretFile" | "customersFile";
  /** Nothing is wrong with a file: there is none, and the environment has no secret either. */
  readonly isMissing: boolean;

  constructor(field: UsageMistake["field"], message: string, isMissing = false) {
    super(message);
    this.field = field;
    this.isMissing = isMissing;
  }
}

/** A sink with its secrets, which stand nowhere else and are never logged. Throws `UsageMistake`. */
export class Endpoint {
  readonly sink: UsageSink;
  private readonly clock: Pick<Clock, "wall">;
  private readonly key: string | undefined;
  private readonly secrets: readonly Buffer[];
  /** The share of calls of which there are traces; undefined: there are none. */
  private readonly traced: number | undefined;
  private customers: ReadonlyMap<string, string> | undefined;
  private customersOf = 0;

  constructor(
    sink: UsageSink,
    env: Readonly<Record<string, string | undefined>>,
    clock: Pick<Clock, "wall">,
    traced?: number,
  ) {
    this.traced = traced;
    this.sink = sink;
    this.clock = clock;
    const name = `TOLLGATE_USAGE_${sink.id.toUpperCase().replace(/-/g, "_")}`;
    this.key = secretIn("keyFile", sink.keyFile, env[`${name}_KEY`]);
    if (this.key === undefined && sink.preset !== "cloudevents" && sink.url.startsWith("https:"))
      throw new UsageMistake("keyFile", `expected a file with the API key, or ${name}_KEY in the environment`, true);
    const secrets = [
      ["secretFile", sink.secretFile, env[`${name}_SECRET`]],
      ["formerSecretFile", sink.formerSecretFile, env[`${name}_FORMER_SECRET`]],
    ] as const;
    this.secrets = secrets.flatMap(([field, file, inEnv]) => {
      const text = secretIn(field, file, inEnv);
      if (text === undefined) return [];
      const octets = secretOctets(text);
      if (typeof octets === "string") throw new UsageMistake(field, `it is no secret of Standard Webhooks: ${octets}`);
      return [octets];
    });
    if (sink.customersFile !== undefined) this.readCustomers(sink.customersFile);
  }

  /** What stands for a part of an event in a request; or why nothing can. */
  item(event: ChargingEvent): Result<string, string> {
    const customer = this.customerOf(event.session.user);
    if (customer === undefined) return err(`usage[].customersFile has no line for the user ${event.session.user}`);
    return itemFor(event, this.sink, customer);
  }

  /** The request with these events, of which each has its item. */
  request(events: readonly ChargingEvent[], items: readonly string[]): Outgoing {
    const form = formFor(this.sink);
    const body = form.body(items);
    const at = Math.floor(this.clock.wall() / 1000);
    const id = messageId(events.map((event) => event.id));
    const headers = {
      "content-type": form.type,
      "user-agent": "Tollgate",
      ...(this.key !== undefined && { authorization: `Bearer ${this.key}` }),
      ...(this.sink.preset === "stripe" && { "stripe-version": STRIPE_VERSION }),
      ...(this.traced !== undefined && parentOf(events, this.traced)),
      ...(this.secrets.length > 0 && signed(id, at, body, this.secrets)),
    };
    return { url: this.sink.url.replace(/\/+$/, "") + form.path, headers, body };
  }

  /** Whose usage it is there. The file is read again when it has changed, and a user is not in it. */
  private customerOf(user: string): string | undefined {
    const { customersFile } = this.sink;
    if (customersFile === undefined) return user;
    const known = this.customers?.get(user);
    if (known !== undefined || changedAt(customersFile) === this.customersOf) return known;
    try {
      this.readCustomers(customersFile);
    } catch {
      return undefined; // it is being written: the letter says which user was missing
    }
    return this.customers?.get(user);
  }

  private readCustomers(path: string): void {
    this.customersOf = changedAt(path);
    const customers = new Map<string, string>();
    for (const [i, line] of readText("customersFile", path).split(/\r?\n/).entries()) {
      if (/^\s*(#|$)/.test(line)) continue;
      const [user, customer, ...more] = line.trim().split(/\s+/);
      if (user === undefined || customer === undefined || more.length > 0)
        throw new UsageMistake("customersFile", `${path}, line ${i + 1}: expected a user, a blank, and the customer`);
      customers.set(user, customer);
    }
    this.customers = customers;
  }
}

/** The span of the events' session (W3C Trace Context §3.2); nothing, if they are of several sessions. */
function parentOf(events: readonly ChargingEvent[], share: number): Record<string, string> {
  const { session } = events[0]!;
  if (events.some((event) => event.session.id !== session.id)) return {};
  return { traceparent: traceparent(session.call, spanIdOf("session", session.id), share) };
}

function changedAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function secretIn(field: UsageMistake["field"], file: string | undefined, inEnv: string | undefined) {
  const text = (file === undefined ? inEnv : readText(field, file))?.trim();
  if (file !== undefined && !text) throw new UsageMistake(field, `${file} is empty`);
  if (text && /[^\x21-\x7e]/.test(text)) throw new UsageMistake(field, "the secret is not one word of plain ASCII");
  return text || undefined;
}

function readText(field: UsageMistake["field"], path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageMistake(field, (error as Error).message);
  }
}
