import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv, type ValidateFunction } from "ajv";
import addFormatsModule from "ajv-formats";
import { parse } from "yaml";
import { toCloudEvent } from "../../src/bus/cloud-events.ts";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { ROOT } from "./project.ts";

interface Message {
  readonly name: string;
  readonly contentType: string;
  readonly payload: { readonly $ref: string };
}

/** As far as schemas of the document go. */
interface Schema {
  readonly $ref?: string;
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

interface Document {
  readonly channels: Readonly<
    Record<string, { address: string; messages: Readonly<Record<string, { $ref: string }>> }>
  >;
  readonly components: {
    readonly messages: Readonly<Record<string, Message>>;
    readonly schemas: Readonly<Record<string, Schema>>;
  };
}

/** ops/asyncapi.yaml. */
export const asyncapi = parse(readFileSync(join(ROOT, "ops/asyncapi.yaml"), "utf8")) as Document;

const ajv = new Ajv({ strict: false, allErrors: true });
(addFormatsModule as unknown as (to: Ajv) => void)(ajv);
ajv.addSchema({ $id: "asyncapi", components: asyncapi.components });

/** The message of a channel's address, and what its payload must look like. */
export function messageOf(address: string): Message & { readonly validate: ValidateFunction } {
  const channel = Object.values(asyncapi.channels).find((one) => one.address === address);
  if (!channel) throw new Error(`no channel ${address}`);
  const [{ $ref }] = Object.values(channel.messages) as [{ $ref: string }];
  const message = asyncapi.components.messages[last($ref)]!;
  return { ...message, validate: ajv.compile({ $ref: `asyncapi${message.payload.$ref}` }) };
}

const messages = new Map<string, ReturnType<typeof messageOf>>();

/**
 * What the document has against an event as the bus would carry it, fields that it does not name among them; "":
 * nothing.
 */
export function undocumented(event: ChargingEvent): string {
  const address = `tollgate.events.${event.type}`;
  const message = messages.get(address) ?? messageOf(address);
  messages.set(address, message);
  const cloud = JSON.parse(toCloudEvent(event, "urn:tollgate:node:a")) as unknown;
  const wrong = message.validate(cloud)
    ? unknownFields(cloud, [message.payload])
    : [ajv.errorsText(message.validate.errors)];
  return wrong.length === 0 ? "" : `${event.type}: ${wrong.join(", ")} in ${JSON.stringify(cloud)}`;
}

/** Paths of what stands in a value and in none of its schemas. */
function unknownFields(value: unknown, schemas: readonly Schema[], path = ""): string[] {
  if (typeof value !== "object" || value === null) return [];
  const whole = schemas.flatMap(resolved);
  return Object.entries(value).flatMap(([name, inner]) => {
    const of = whole.flatMap(({ properties, items }) => properties?.[name] ?? ((Array.isArray(value) && items) || []));
    return of.length === 0 ? [`${path}${name} is not in the document`] : unknownFields(inner, of, `${path}${name}.`);
  });
}

/** A schema and what it is made of. */
function resolved(schema: Schema): Schema[] {
  const referred = schema.$ref === undefined ? [] : resolved(asyncapi.components.schemas[last(schema.$ref)]!);
  return [schema, ...referred, ...(schema.allOf ?? []).flatMap(resolved)];
}

const last = (ref: string): string => ref.split("/").at(-1)!;
