import { XMLParser, XMLValidator } from "fast-xml-parser";
import { err, ok, type Result } from "../support/result.ts";

/** Deeper nesting than this is refused, in XML and JSON. */
const DEPTH = 32;

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

/** Which of the two a Content-Type says, without its parameters; undefined: neither, its fields cannot be asked for. */
export function bodyFormat(contentType: string): BodyFormat | undefined {
  const semicolon = contentType.indexOf(";");
  const type = (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
  if (type === "application/json" || type.endsWith("+json")) return "json";
  if (type === "application/xml" || type === "text/xml" || type.endsWith("+xml")) return "xml";
  return undefined;
}

/** Reads a body of at most `maxBytes`. The error says what is wrong with it, for the reason phrase of a 400. */
export function readFields(body: Buffer, format: BodyFormat, maxBytes: number): Result<BodyFields, string> {
  if (body.length > maxBytes) return err("Body Too Large");
  const text = body.toString("utf8");
  const tree = format === "json" ? readJson(text) : readXml(text);
  return tree.ok ? ok({ get: (path) => fieldAt(tree.value, path) }) : tree;
}

function readJson(text: string): Result<unknown, string> {
  if (tooDeep(text)) return err("JSON Body Too Deep");
  try {
    return ok(JSON.parse(text));
  } catch {
    return err("Body Is Not JSON");
  }
}

function tooDeep(json: string): boolean {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < json.length; i++) {
    const c = json.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c) i++;
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > DEPTH) return true;
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
  return false;
}

const xml = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "@",
  parseTagValue: false,
  parseAttributeValue: false,
  removeNSPrefix: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
  maxNestedTags: DEPTH,
  entityDecoder: {
    decode: decodeReferences,
    setExternalEntities: () => {},
    addInputEntities: () => {},
    reset: () => {},
    setXmlVersion: () => {},
  },
});

function readXml(text: string): Result<unknown, string> {
  // "<!" is a comment or CDATA section or else a declaration of a document type or an entity.
  for (let at = text.indexOf("<!"); at >= 0; at = text.indexOf("<!", at + 2)) {
    if (!text.startsWith("--", at + 2) && !text.startsWith("[CDATA[", at + 2)) return err("XML Body With DOCTYPE");
  }
  try {
    if (XMLValidator.validate(text) !== true) return err("Body Is Not XML");
    return ok(xml.parse(text));
  } catch {
    return err("Body Is Not XML");
  }
}

const PREDEFINED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** XML 1.0 §4.1 and §4.6: character references and the five predefined entities; any other stays as it is written. */
function decodeReferences(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(amp|lt|gt|quot|apos));/g, (all, decimal, hex, name) => {
    if (name !== undefined) return PREDEFINED[name]!;
    const code = decimal !== undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff) ? String.fromCodePoint(code) : all;
  });
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
