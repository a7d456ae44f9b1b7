import { z } from "zod";
import { type AnyOperation, fieldsOf, isInQuery, namesIn } from "./operation.ts";
import { leastRole } from "./rights.ts";

/* The part of the API's document (OpenAPI 3.1) that comes from the operations. */

type Json = Record<string, unknown>;

/** `paths` of the document for these operations. */
export function pathsOf(operations: readonly AnyOperation[]): Record<string, Json> {
  const paths: Record<string, Json> = {};
  for (const operation of operations)
    paths[operation.path] = { ...paths[operation.path], [operation.method.toLowerCase()]: described(operation) };
  return paths;
}

function described(operation: AnyOperation): Json {
  const { id, method, path, summary, right } = operation;
  const fields = fieldsOf(operation);
  const names = namesIn(path);
  const inQuery = isInQuery(method);
  const rest = Object.entries(fields).filter(([name]) => !names.includes(name));
  const parameters = [
    ...names.map((name) => parameter(name, fields[name]!, "path")),
    ...(inQuery ? rest.map(([name, field]) => parameter(name, field, "query")) : []),
  ];
  const role = right === "any" ? undefined : leastRole(right);
  return {
    operationId: id,
    summary,
    ...(role !== undefined && { "x-least-role": role }),
    security:
      inQuery && method === "GET" && right !== "administer" && right !== "operate"
        ? [{ token: [] }, {}]
        : [{ token: [] }],
    ...(parameters.length > 0 && { parameters }),
    ...(!inQuery && rest.length > 0 && { requestBody: bodyOf(rest) }),
    responses: {
      "200": { description: "Done.", content: answerOf(operation) },
      default: { $ref: "#/components/responses/OperationProblem" },
    },
  };
}

function parameter(name: string, field: z.ZodType, place: "path" | "query"): Json {
  const { description, ...schema } = schemaOf(field);
  const required = place === "path" || !isOptional(field);
  return { name, in: place, required, ...(description !== undefined && { description }), schema };
}

function bodyOf(rest: readonly (readonly [string, z.ZodType])[]): Json {
  const required = rest.filter(([, field]) => !isOptional(field)).map(([name]) => name);
  return {
    required: required.length > 0,
    content: {
      "application/json": {
        schema: {
          type: "object",
          ...(required.length > 0 && { required }),
          additionalProperties: false,
          properties: Object.fromEntries(rest.map(([name, field]) => [name, schemaOf(field)])),
        },
      },
    },
  };
}

const isOptional = (field: z.ZodType): boolean => field.safeParse(undefined).success;

function answerOf({ id, file, output, input }: AnyOperation): Json {
  if (id === "watchCalls") return { "text/event-stream": { schema: { type: "string" } } };
  if (!file) return { "application/json": { schema: schemaOf(output) } };
  const asked = JSON.stringify(schemaOf(input));
  const formats = asked.includes("pcap")
    ? ["text/plain", "application/json", "application/vnd.tcpdump.pcap"]
    : asked.includes("jsonl")
      ? ["text/csv", "application/x-ndjson"]
      : ["text/plain", "text/csv", "text/html"];
  return Object.fromEntries(formats.map((type) => [type, { schema: { type: "string" } }]));
}

function schemaOf(type: z.ZodType): Json {
  const { $schema: _, ...schema } = z.toJSONSchema(type, { io: "input", unrepresentable: "any" }) as Json;
  return withoutNoise(schema) as Json;
}

/** What zod adds of itself: the greatest whole numbers, which say nothing. */
function withoutNoise(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNoise);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== Number.MAX_SAFE_INTEGER && inner !== Number.MIN_SAFE_INTEGER)
      .map(([name, inner]) => [name, withoutNoise(inner)]),
  );
}
