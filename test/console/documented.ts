import { readFileSync } from "node:fs";
import { Ajv2020, type ErrorObject } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { parse } from "yaml";

/*
 * What ops/openapi.yaml says that operations answer, read strictly. More fields may come in later versions, so the
 * document lets readers expect more than it names. An answer of this version has nothing that the document does not
 * name, but for objects that it calls loose (`additionalProperties: {}`), and maps.
 */

export interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema | false;
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

export interface Described {
  readonly operationId: string;
  readonly method: string;
  readonly path: string;
  /** By media type. */
  readonly answers: Readonly<Record<string, Schema>>;
  /** Of its refusals. */
  readonly problem: Schema;
}

interface Responses {
  readonly "200": { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly default?: { readonly $ref: string };
}
const document = parse(readFileSync("ops/openapi.yaml", "utf8"));

/** What a reference such as `#/components/schemas/Problem` names. */
function resolved<T>({ $ref }: { readonly $ref: string }): T {
  let at = document;
  for (const name of $ref.slice("#/".length).split("/")) at = at[name];
  return at as T;
}

/** The operations of the document, by their ids; those that are written by hand are left out. */
export const DESCRIBED: ReadonlyMap<string, Described> = new Map(
  Object.entries<Record<string, { operationId: string; responses: Responses }>>(document.paths).flatMap(
    ([path, methods]) =>
      Object.entries(methods).flatMap(([method, { operationId, responses }]): [string, Described][] => {
        if (!responses.default) return [];
        const { content } = resolved<Responses["200"]>(responses.default);
        const answers = Object.entries(responses["200"].content).map(([type, { schema }]) => [type, schema] as const);
        const problem = resolved<Schema>(content["application/problem+json"]!.schema as { $ref: string });
        const described = { operationId, path, answers: Object.fromEntries(answers), problem };
        return [[operationId, { ...described, method: method.toUpperCase() }]];
      }),
  ),
);

/** The schema without fields that it does not name. */
export function closed<T>(schema: T): T {
  if (Array.isArray(schema)) return schema.map(closed) as T;
  if (typeof schema !== "object" || schema === null) return schema;
  const inside = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, closed(value)]));
  const open = "properties" in schema && !("additionalProperties" in schema) && (schema as Schema).type === "object";
  return (open ? { ...inside, additionalProperties: false } : inside) as T;
}

/** Holds values against the schema: tells what does not fit; "": nothing. */
export function checkerOf(schema: Schema): (value: unknown) => string {
  const ajv = new Ajv2020({ strict: false });
  (formats as unknown as (ajv: Ajv2020) => void)(ajv);
  const valid = ajv.compile(closed(schema));
  const text = ({ instancePath, message, params }: ErrorObject) =>
    `${instancePath || "/"} ${message} ${JSON.stringify(params)}`;
  return (value) => (valid(value) ? "" : (valid.errors ?? []).map(text).join("; "));
}

/** Every place that a schema names: fields `.name`, the entries of lists `[]`, and of maps `{}`. */
export function* placesIn(schema: Schema, at = ""): Generator<{ readonly place: string; readonly schema: Schema }> {
  for (const branch of branchesOf(schema)) yield* placesIn(branch, at);
  for (const [name, below] of Object.entries(schema.properties ?? {})) {
    yield { place: `${at}.${name}`, schema: below };
    yield* placesIn(below, `${at}.${name}`);
  }
  if (schema.items) {
    yield { place: `${at}[]`, schema: schema.items };
    yield* placesIn(schema.items, `${at}[]`);
  }
  if (typeof schema.additionalProperties === "object" && Object.keys(schema.additionalProperties).length > 0) {
    yield { place: `${at}{}`, schema: schema.additionalProperties };
    yield* placesIn(schema.additionalProperties, `${at}{}`);
  }
}

/** Those of them that a value has. */
export function* placesOf(schema: Schema, value: unknown, at = ""): Generator<string> {
  for (const branch of branchesOf(schema)) if (isMeant(branch, value)) yield* placesOf(branch, value, at);
  if (Array.isArray(value)) {
    if (schema.items)
      for (const each of value) {
        yield `${at}[]`;
        yield* placesOf(schema.items, each, `${at}[]`);
      }
    return;
  }
  if (typeof value !== "object" || value === null) return;
  for (const [name, below] of Object.entries(value)) {
    const named = schema.properties && Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    const place = named ? `${at}.${name}` : `${at}{}`;
    const of = named ?? schema.additionalProperties;
    yield place;
    if (typeof of === "object") yield* placesOf(of, below, place);
  }
}

const branchesOf = ({ anyOf = [], oneOf = [] }: Schema): readonly Schema[] => [...anyOf, ...oneOf];

/** Branches differ by a field that has one value each. */
const isMeant = ({ properties = {} }: Schema, value: unknown): boolean =>
  typeof value === "object" &&
  value !== null &&
  Object.entries(value).every(([name, one]) => [undefined, one].includes(properties[name]?.const));
