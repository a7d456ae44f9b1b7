import { err, ok, type Result } from "./result.ts";

/** The error for a body with any declaration. */
export const XML_WITH_DOCTYPE = "XML Body With DOCTYPE";
/** The error for a reference to an unknown entity, if such are refused. */
export const XML_WITH_ENTITY = "XML Body With Entity";
/** The error for a body with more than `MAX_PARTS` parts. */
export const XML_TOO_MANY = "XML Body Has Too Many Elements";
/** The error for everything else. */
export const NOT_XML = "Body Is Not XML";

/** How many elements and attributes one body may have. */
const MAX_PARTS = 4_096;

export interface XmlOptions {
  /** Deeper nesting is refused. */
  readonly depth: number;
  /** Names of elements that become a list even if there is only one. */
  readonly lists?: readonly string[];
  /**
   * What to do with an unknown entity, and with an ampersand that begins no entity: leave it as it is written
   * (default), or refuse the body.
   */
  readonly entities?: "asWritten" | "refused";
}

/**
 * What an element holds: its text, or an object of attributes, children and `#text`. Several elements of one name
 * become a list.
 */
export type XmlValue = string | XmlElement | readonly XmlValue[];
export interface XmlElement {
  readonly [name: string]: XmlValue;
}

type Open = { name: string; key: string; fields: Record<string, XmlValue> | undefined; text: string; keep: number };

/**
 * Makes a reader for XML from the network. Only data comes out: all values are text, attributes are keys with "@", the
 * text of an element that has attributes or children is "#text", namespace prefixes go. Only the five predefined
 * entities and character references are known. Any declaration (DOCTYPE, ENTITY) is refused, and nothing outside of the
 * text is ever read. The error is a reason.
 *
 * It looks at each character only once or twice, whatever the text is: a search that finds nothing ends the reading. No
 * library that we looked at promises this, and one of them took 0.2 s for 60 kB.
 */
export function createXmlReader(options: XmlOptions): (text: string) => Result<XmlElement, string> {
  return (text) => new Reader(text, options).read();
}

class Reader {
  private readonly text: string;
  private readonly options: XmlOptions;
  private readonly open: Open[] = [];
  private root: XmlElement | undefined;
  private at = 0;
  private parts = 0;

  constructor(text: string, options: XmlOptions) {
    this.options = options;
    this.text = text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text; // XML 1.0 §2.11
  }

  read(): Result<XmlElement, string> {
    const { text } = this;
    if (NO_CHARACTER.test(text)) return err(NOT_XML);
    if (text.charCodeAt(0) === 0xfeff) this.at = 1;
    while (this.at < text.length) {
      const tag = text.indexOf("<", this.at);
      const end = tag < 0 ? text.length : tag;
      const problem = this.take(text.slice(this.at, end)) ?? (tag < 0 ? undefined : this.markup(tag));
      if (problem !== undefined) return err(problem);
      if (tag < 0) break;
    }
    return this.root !== undefined && this.open.length === 0 ? ok(this.root) : err(NOT_XML);
  }

  /** Takes text between two tags; returns what is wrong with it. */
  private take(written: string): string | undefined {
    if (written === "") return undefined;
    const element = this.open.at(-1);
    if (element === undefined) return written.trim() === "" ? undefined : NOT_XML;
    const plain = this.decode(written);
    if (plain === undefined) return XML_WITH_ENTITY;
    element.text += element.text === "" ? plain.trimStart() : plain;
    return undefined;
  }

  /** Takes what begins with `<` at that place; returns what is wrong with it. */
  private markup(from: number): string | undefined {
    const { text } = this;
    switch (text.charCodeAt(from + 1)) {
      case BANG:
        if (text.startsWith("--", from + 2)) return this.skipTo("-->", from + 4);
        return text.startsWith("[CDATA[", from + 2) ? this.cdata(from + 9) : XML_WITH_DOCTYPE;
      case QUESTION:
        return this.skipTo("?>", from + 2);
      case SLASH:
        return this.closeTag(from + 2);
      default:
        return this.openTag(from + 1);
    }
  }

  private skipTo(mark: string, from: number): string | undefined {
    const end = this.text.indexOf(mark, from);
    if (end < 0) return NOT_XML;
    this.at = end + mark.length;
    return undefined;
  }

  private cdata(from: number): string | undefined {
    const element = this.open.at(-1);
    const problem = element === undefined ? NOT_XML : this.skipTo("]]>", from);
    if (problem !== undefined || element === undefined) return problem;
    element.text += this.text.slice(from, this.at - 3);
    element.keep = element.text.length; // the blanks of CDATA are not trimmed
    return undefined;
  }

  private openTag(from: number): string | undefined {
    const { text, open, options } = this;
    let i = skipName(text, from);
    if (i === from || open.length >= options.depth || (open.length === 0 && this.root !== undefined)) return NOT_XML;
    const name = text.slice(from, i);
    const key = withoutPrefix(name);
    if (key === undefined) return NOT_XML;
    let fields: Record<string, XmlValue> | undefined;
    for (;;) {
      if (++this.parts > MAX_PARTS) return XML_TOO_MANY;
      const next = skipSpace(text, i);
      const c = text.charCodeAt(next);
      if (c === GREATER || (c === SLASH && text.charCodeAt(next + 1) === GREATER)) {
        open.push({ name, key, fields, text: "", keep: 0 });
        this.at = next + (c === SLASH ? 2 : 1);
        return c === SLASH ? this.close() : undefined;
      }
      const attribute = next === i ? undefined : this.attribute(next); // XML 1.0 §3.1: a blank before each attribute
      if (attribute === undefined) return NOT_XML;
      const { value, field } = attribute;
      if (value === undefined) return XML_WITH_ENTITY;
      i = attribute.end;
      if (field === undefined) continue;
      fields ??= Object.create(null) as Record<string, XmlValue>;
      if (field in fields) return NOT_XML;
      fields[field] = value;
    }
  }

  /**
   * The attribute that begins at `from`; undefined if there is none. Its `field` is undefined for a namespace
   * declaration, its `value` for an entity that is refused.
   */
  private attribute(from: number): { field: string | undefined; value: string | undefined; end: number } | undefined {
    const { text } = this;
    const nameEnd = skipName(text, from);
    const equals = skipSpace(text, nameEnd);
    const start = skipSpace(text, equals + 1);
    const mark = text.charCodeAt(start);
    if (nameEnd === from || text.charCodeAt(equals) !== EQUALS || (mark !== QUOTE && mark !== APOSTROPHE))
      return undefined;
    const end = text.indexOf(mark === QUOTE ? '"' : "'", start + 1);
    const name = text.slice(from, nameEnd);
    const key = name.startsWith("xmlns:") ? "" : withoutPrefix(name);
    if (end < 0 || key === undefined) return undefined;
    const written = text.slice(start + 1, end);
    if (written.includes("<")) return undefined; // XML 1.0 §3.1, No < in Attribute Values
    return { field: key === "" ? undefined : `@${key}`, value: this.decode(written.trim()), end: end + 1 };
  }

  private closeTag(from: number): string | undefined {
    const { text } = this;
    const name = this.open.at(-1)?.name;
    if (name === undefined || !text.startsWith(name, from)) return NOT_XML;
    const end = skipSpace(text, from + name.length);
    if (text.charCodeAt(end) !== GREATER) return NOT_XML;
    this.at = end + 1;
    return this.close();
  }

  /** Ends the innermost element. */
  private close(): undefined {
    const { key, fields, text, keep } = this.open.pop()!;
    const trimmed = text.slice(0, keep) + text.slice(keep).trimEnd();
    let value: XmlValue = trimmed;
    if (fields !== undefined) {
      if (trimmed !== "") fields["#text"] = trimmed;
      value = fields;
    }
    const isList = this.options.lists?.includes(key) === true;
    const parent = this.open.at(-1);
    const into =
      (parent === undefined ? undefined : parent.fields) ?? (Object.create(null) as Record<string, XmlValue>);
    const before = into[key];
    if (before === undefined) into[key] = isList ? [value] : value;
    else if (Array.isArray(before)) before.push(value);
    else into[key] = [before, value];
    if (parent === undefined) this.root = into;
    else parent.fields = into;
  }

  /**
   * XML 1.0 §4.1 and §4.6: character references and the five predefined entities. Undefined: there is another entity,
   * and others are refused.
   */
  private decode(written: string): string | undefined {
    let plain = "";
    let done = 0;
    for (let at = written.indexOf("&"); at >= 0; at = written.indexOf("&", at + 1)) {
      const end = endOfReference(written, at + 1);
      const character = end < 0 ? undefined : characterOf(written.slice(at + 1, end));
      if (character === undefined) {
        if (this.options.entities === "refused") return undefined;
      } else if (character !== "") {
        plain += written.slice(done, at) + character;
        done = end + 1;
      }
    }
    return done === 0 ? written : plain + written.slice(done);
  }
}

const [QUOTE, APOSTROPHE, SLASH, EQUALS, GREATER, QUESTION, BANG] = [0x22, 0x27, 0x2f, 0x3d, 0x3e, 0x3f, 0x21];
const PREDEFINED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
/** XML 1.0 §2.2. */
const NO_CHARACTER = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/;

/**
 * The place behind a name, or `from` if there is none (XML 1.0 §2.3). Every character beyond ASCII counts as part of a
 * name.
 */
function skipName(text: string, from: number): number {
  let i = from;
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i);
    const letter = (c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a;
    if (letter || c === 0x5f || c === 0x3a || c > 0x7f) continue;
    if (i === from || !((c >= 0x30 && c <= 0x39) || c === 0x2d || c === 0x2e)) break;
  }
  return i;
}

function skipSpace(text: string, from: number): number {
  let i = from;
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c !== 0x20 && c !== 0x0a && c !== 0x09) break;
  }
  return i;
}

/**
 * A name without its prefix. Undefined if it is no name, or `__proto__`, which has a special meaning in JavaScript
 * objects.
 */
function withoutPrefix(name: string): string | undefined {
  const local = name.slice(name.indexOf(":") + 1);
  return local === "" || local.includes(":") || local === "__proto__" ? undefined : local;
}

/**
 * The place of the semicolon that ends a reference whose name begins at `from`, or -1 if this is no reference. A number
 * may have any number of leading zeros. The next ampersand ends the search, so that each character is looked at once.
 */
function endOfReference(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x3b) return i;
    if (!(c === 0x23 || (c >= 0x30 && c <= 0x39) || ((c | 0x20) >= 0x61 && (c | 0x20) <= 0x7a))) return -1;
  }
  return -1;
}

/** What a reference stands for: empty for a number that is no character, undefined for an unknown entity. */
function characterOf(name: string): string | undefined {
  const known = Object.hasOwn(PREDEFINED, name) ? PREDEFINED[name] : undefined;
  if (known !== undefined || name.charCodeAt(0) !== 0x23) return known;
  const hex = name.charCodeAt(1) === 0x78;
  if (!(hex ? /^#x0*[0-9a-fA-F]{1,6}$/ : /^#0*[0-9]{1,7}$/).test(name)) return undefined;
  const code = hex ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1));
  const is = code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
  return is ? String.fromCodePoint(code) : "";
}
