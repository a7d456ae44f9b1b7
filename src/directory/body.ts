import { readJson } from "../support/json.ts";
import { err, ok, type Result } from "../support/result.ts";
import { createXmlReader } from "../support/xml.ts";

/** Deeper nesting than this is refused, in XML and JSON. */
const DEPTH = 32;

const readXml = createXmlReader({ depth: DEPTH });

/**
 * The fields of a request's XML or JSON body, for rules (M3). Only data comes out: no entity but the five predefined ones and
 * character references is known, DOCTYPE is refused, nothing outside the body is ever read.
 */
export interface BodyFields {
  /** Text of the field at a path of keys (`["request", "@lang"]`, `["order", "items", "0", "name"]`); undefined where there is none. */
  get(path: readonly string[]): string | undefined;
}

export const noFields: BodyFields = { get: () => undefined };

export type BodyFormat = "xml" | "json";

/** Which of the two a media type is; undefined: neither, its fields cannot be asked for. */
export function bodyFormat(mediaType: string): BodyFormat | undefined {
  const type = mediaType.toLowerCase();
  if (type === "application/json" || type.endsWith("+json")) return "json";
  if (type === "application/xml" || type === "text/xml" || type.endsWith("+xml")) return "xml";
  return undefined;
}

/** Reads a body of at most `maxBytes`. The error says what is wrong with it, for the reason phrase of a 400. */
export function readFields(body: Buffer, format: BodyFormat, maxBytes: number): Result<BodyFields, string> {
  if (body.length > maxBytes) return err("Body Too Large");
  const text = body.toString("utf8");
  const tree = format === "json" ? readJson(text, DEPTH) : readXml(text);
  return tree.ok ? ok({ get: (path) => fieldAt(tree.value, path) }) : tree;
}

function fieldAt(tree: unknown, path: readonly string[]): string | undefined {
  let at = tree;
  for (const key of path) {
    at = child(at, key);
    if (at === undefined) return undefined;
  }
  return textOf(at);
}

/** A repeated XML element is a list, and a name asked of a list means its first entry: `items.name` is `items.0.name`. */
function child(at: unknown, key: string): unknown {
  if (Array.isArray(at)) return /^\d{1,6}$/.test(key) ? at[Number(key)] : child(at[0], key);
  if (typeof at !== "object" || at === null) return key === "0" ? at : undefined;
  if (Object.hasOwn(at, key)) return (at as Record<string, unknown>)[key];
  return key === "0" ? at : undefined; // an element that stands only once is its own first
}

function textOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return textOf(value[0]);
  if (typeof value === "object" && value !== null && Object.hasOwn(value, "#text")) {
    return textOf((value as Record<string, unknown>)["#text"]);
  }
  return undefined;
}
