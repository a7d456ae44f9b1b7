import { isUtf8 } from "node:buffer";
import { readJson } from "../support/json.ts";
import { err, ok, type Result } from "../support/result.ts";
import { createXmlReader } from "../support/xml.ts";

/** Deeper nesting than this is refused, in XML and JSON. */
const DEPTH = 32;

const readXml = createXmlReader({ depth: DEPTH });

/**
 * The fields of a request's XML or JSON body, for rules (M3). Only data comes out. Of entities, only the five
 * predefined ones and character references are known; DOCTYPE is refused; nothing outside of the body is ever read.
 */
export interface BodyFields {
  /**
   * Text of the field at a path of keys (`["request", "@lang"]`, `["order", "items", "0", "name"]`); undefined if there
   * is none.
   */
  get(path: readonly string[]): string | undefined;
  /**
   * The texts of all fields at a path. At a list, a path without a number means all entries. Of more than `MOST_FIELDS`
   * texts, one more than that comes back.
   */
  all(path: readonly string[]): readonly string[];
}

export type BodyFormat = "xml" | "json";

/** The format of a media type. Undefined: neither of the two, so the body has no fields for rules. */
export function bodyFormat(mediaType: string): BodyFormat | undefined {
  const type = mediaType.toLowerCase();
  if (type === "application/json" || type.endsWith("+json")) return "json";
  if (type === "application/xml" || type === "text/xml" || type.endsWith("+xml")) return "xml";
  return undefined;
}

/** Reads a body of at most `maxBytes`. The error says what is wrong with it, for the reason phrase of a 400. */
export function readFields(body: Buffer, format: BodyFormat, maxBytes: number): Result<BodyFields, string> {
  if (body.length > maxBytes) return err("Body Too Large");
  if (!isUtf8(body)) return err("Body Is Not UTF-8");
  const text = body.toString("utf8");
  if (format === "xml" && isDeclaredOtherwise(text)) return err("Body Is Not UTF-8");
  const tree = format === "json" ? readJson(text, DEPTH) : readXml(text);
  if (!tree.ok) return tree;
  return ok({
    get: (path) => fieldAt(tree.value, path),
    all: (path) => {
      const found: string[] = [];
      collect(tree.value, path, 0, found);
      return found;
    },
  });
}

/**
 * Whether an XML declaration names another encoding. An app server that uses that encoding would read something else
 * than the rules.
 */
function isDeclaredOtherwise(text: string): boolean {
  const declared = ENCODING.exec(text.slice(0, 200))?.[1];
  return declared !== undefined && !/^(utf-?8|us-ascii)$/i.test(declared);
}

const ENCODING = /^\ufeff?<\?xml[^>]*\bencoding\s*=\s*["']([^"']*)/;

/**
 * How many fields of one path are looked at. A request with more is refused: the field that counts could be hidden
 * behind them.
 */
export const MOST_FIELDS = 4_096;

/**
 * Collects all texts at the path, from its key `i` on. In a list, a key that is no number is looked for in each entry.
 */
function collect(at: unknown, path: readonly string[], i: number, found: string[]): void {
  if (found.length > MOST_FIELDS) return;
  const key = path[i];
  if (Array.isArray(at) && (key === undefined || !INDEX.test(key))) {
    for (const one of at) collect(one, path, i, found);
    return;
  }
  if (key === undefined) {
    const text = textOf(at);
    if (text !== undefined) found.push(text);
    return;
  }
  const next = child(at, key);
  if (next !== undefined) collect(next, path, i + 1, found);
}

const INDEX = /^\d{1,6}$/;

function fieldAt(tree: unknown, path: readonly string[]): string | undefined {
  let at = tree;
  for (const key of path) {
    at = child(at, key);
    if (at === undefined) return undefined;
  }
  return textOf(at);
}

/**
 * A repeated XML element is a list. A name that is looked for in a list means its first entry: `items.name` is
 * `items.0.name`.
 */
function child(at: unknown, key: string): unknown {
  if (Array.isArray(at)) return INDEX.test(key) ? at[Number(key)] : child(at[0], key);
  if (typeof at !== "object" || at === null) return key === "0" ? at : undefined;
  if (Object.hasOwn(at, key)) return (at as Record<string, unknown>)[key];
  return key === "0" ? at : undefined; // an element that stands only once is also number 0
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
