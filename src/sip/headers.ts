import { err, ok, type Result } from "../support/result.ts";
import { isToken, readNumber } from "./text.ts";
import { parseHostPort } from "./uri.ts";

/*
 * What stands in header fields (RFC 3261 §20, §25.1). Everything takes text as it stands in a message and gives a value or says what is
 * wrong; nothing throws.
 */

/** Parameters by lower-case name; one without a value has "". Quoted values keep their quotes out. */
export type Params = Map<string, string>;

export interface Via {
  /** UDP, TCP ... as written. */
  readonly transport: string;
  /** As written: an IPv6 address keeps its brackets. */
  readonly host: string;
  readonly port?: number;
  readonly params: Params;
}

/** From, To, Contact, Route ... */
export interface NameAddr {
  /** Without quotes and backslashes. */
  readonly display?: string;
  /** As written; `parseUri` reads it. */
  readonly uri: string;
  /** Parameters of the header field, not of the URI. */
  readonly params: Params;
}

export interface CSeq {
  readonly number: number;
  readonly method: string;
}

/** Cuts a list at its commas, but not within quotes or angle brackets. Empty members are dropped. */
export function splitList(value: string): string[] {
  if (!value.includes(",")) {
    const only = value.trim();
    return only === "" ? [] : [only];
  }
  const parts: string[] = [];
  let start = 0;
  for (let i = 0; i <= value.length; i++) {
    const c = value[i];
    if (c === '"') i = endOfQuoted(value, i) - 1;
    else if (c === "<") i = indexOr(value, ">", i, i);
    else if (c === "," || i === value.length) {
      const part = value.slice(start, i).trim();
      if (part !== "") parts.push(part);
      start = i + 1;
    }
  }
  return parts;
}

function indexOr(text: string, what: string, from: number, otherwise: number): number {
  const at = text.indexOf(what, from);
  return at < 0 ? otherwise : at;
}

/** Index after the closing quote of the quoted string that starts at `start`; the text's length where none closes it. */
function endOfQuoted(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 92) i++;
    else if (code === 34) return i + 1;
  }
  return text.length;
}

/** Takes quotes and backslashes off a quoted string; other text stays. */
export function unquote(text: string): string {
  if (text.length < 2 || text[0] !== '"' || !text.endsWith('"')) return text;
  const inner = text.slice(1, -1);
  return inner.includes("\\") ? inner.replace(/\\([\s\S])/g, "$1") : inner;
}

/** Text in quotes, with what must be escaped escaped (RFC 3261 §25.1, quoted-string). */
export const quote = (text: string): string => `"${text.replace(/[\r\n]+/g, " ").replace(/["\\]/g, "\\$&")}"`;

/** `;name=value;name`; `text` begins with a semicolon or is empty. */
export function parseParams(text: string): Result<Params, string> {
  const params: Params = new Map();
  let i = skipSpace(text, 0);
  while (i < text.length) {
    if (text[i] !== ";") return err("parameters must begin with a semicolon");
    i = skipSpace(text, i + 1);
    let end = i;
    while (end < text.length && text[end] !== ";" && text[end] !== "=") end++;
    const name = text.slice(i, end).trim().toLowerCase();
    if (name === "") {
      if (end >= text.length) break; // A semicolon at the end is in use, and means nothing.
      return err("parameter has no name"); // RFC 4475 §3.1.2.1
    }
    if (!isToken(name)) return err("parameter name cannot be read");
    let value = "";
    if (text[end] === "=") {
      const start = skipSpace(text, end + 1);
      if (text[start] === '"') {
        end = endOfQuoted(text, start);
        if (text[end - 1] !== '"' || end - 1 === start) return err("quoted string is not closed");
        value = unquote(text.slice(start, end));
        end = skipSpace(text, end);
      } else {
        end = indexOr(text, ";", start, text.length);
        value = text.slice(start, end).trim();
      }
    }
    if (!params.has(name)) params.set(name, value);
    i = end;
  }
  return ok(params);
}

function skipSpace(text: string, from: number): number {
  let i = from;
  while (i < text.length && (text.charCodeAt(i) === 32 || text.charCodeAt(i) === 9)) i++;
  return i;
}

/** Reads the first of the values in a Via line (RFC 3261 §20.42). */
export function parseVia(line: string): Result<Via, string> {
  const value = firstOf(line);
  // SIP / 2.0 / UDP sent-by; there may be spaces around the slashes.
  const slash = value.indexOf("/");
  const second = value.indexOf("/", slash + 1);
  if (slash < 0 || second < 0) return err("Via has no protocol");
  if (value.slice(0, slash).trim().toUpperCase() !== "SIP") return err("Via is not of SIP");
  const start = skipSpace(value, second + 1);
  let end = start;
  while (end < value.length && value.charCodeAt(end) !== 32 && value.charCodeAt(end) !== 9) end++;
  const transport = value.slice(start, end);
  if (!isToken(transport)) return err("Via has no transport");
  const semicolon = indexOr(value, ";", end, value.length);
  const sentBy = value.slice(end, semicolon).trim();
  const where = parseHostPort(sentBy.includes(" ") || sentBy.includes("\t") ? sentBy.replace(/[ \t]+/g, "") : sentBy);
  if (!where.ok) return err(`Via: ${where.error}`);
  const params = parseParams(value.slice(semicolon));
  if (!params.ok) return err(`Via: ${params.error}`);
  return ok({ transport, ...where.value, params: params.value });
}

export function formatVia(via: Via): string {
  return `SIP/2.0/${via.transport} ${via.host}${via.port === undefined ? "" : `:${via.port}`}${formatParams(via.params)}`;
}

export function formatParams(params: ReadonlyMap<string, string>): string {
  let text = "";
  for (const [name, value] of params) {
    if (value === "") text += `;${name}`;
    else
      text +=
        isToken(value) || /^\[[0-9A-Fa-f:.]+\]$/.test(value) || /^[0-9A-Fa-f:.]+$/.test(value)
          ? `;${name}=${value}`
          : `;${name}=${quote(value)}`;
  }
  return text;
}

/** The first of several values on one line. */
function firstOf(line: string): string {
  return line.includes(",") ? (splitList(line)[0] ?? "") : line.trim();
}

/** Reads the first name-addr or addr-spec of a line (RFC 3261 §20.10, §20.20, §20.39). */
export function parseNameAddr(line: string): Result<NameAddr, string> {
  const value = line.includes(",") ? firstOf(line) : line.trim();
  let i = 0;
  let display: string | undefined;
  if (value[0] === '"') {
    i = endOfQuoted(value, 0);
    if (i < 2 || value[i - 1] !== '"') return err("display name has no closing quote");
    display = unquote(value.slice(0, i));
    i = skipSpace(value, i);
    if (value[i] !== "<") return err("URI after a display name must stand in angle brackets");
  } else {
    const open = value.indexOf("<");
    if (open > 0) {
      const name = value.slice(0, open).trim();
      // RFC 4475 §3.1.2.15: a display name that is not quoted is made of tokens.
      if (!name.split(/[ \t]+/).every(isToken)) return err("display name must be quoted");
      display = name;
    }
    i = open < 0 ? 0 : open;
  }
  if (value[i] === "<") {
    const close = value.indexOf(">", i);
    if (close < 0) return err("URI has no closing angle bracket");
    const params = parseParams(value.slice(close + 1));
    if (!params.ok) return params;
    const uri = value.slice(i + 1, close).trim();
    if (uri === "" || uri.includes(" ")) return err("URI cannot be read");
    return ok(display === undefined ? { uri, params: params.value } : { display, uri, params: params.value });
  }
  // Without brackets every parameter belongs to the header field (RFC 3261 §20.10), and the URI may have none of "?", ",", ";".
  const semicolon = value.indexOf(";");
  const uri = (semicolon < 0 ? value : value.slice(0, semicolon)).trim();
  if (uri === "" || uri.includes(" ") || uri.includes("?") || !uri.includes(":")) return err("URI cannot be read");
  const params = parseParams(semicolon < 0 ? "" : value.slice(semicolon));
  return params.ok ? ok({ uri, params: params.value }) : params;
}

export function formatNameAddr(address: NameAddr): string {
  const display = address.display === undefined || address.display === "" ? "" : `${quote(address.display)} `;
  return `${display}<${address.uri}>${formatParams(address.params)}`;
}

/** A From or To value with this tag in place of its own. */
export function withTag(value: string, tag: string): string {
  const address = parseNameAddr(value);
  if (!address.ok) return `${value};tag=${tag}`;
  if (!address.value.params.has("tag"))
    return value.includes("<")
      ? `${value.trimEnd()};tag=${tag}`
      : `<${address.value.uri}>${formatParams(address.value.params)};tag=${tag}`;
  const params = new Map(address.value.params);
  params.set("tag", tag);
  const bare = value.includes("<") ? value.slice(0, value.lastIndexOf(">") + 1) : `<${address.value.uri}>`;
  return `${bare}${formatParams(params)}`;
}

/** RFC 3261 §20.16; the number is less than 2**31. */
export function parseCSeq(value: string): Result<CSeq, string> {
  const text = value.trim();
  let space = 0;
  while (space < text.length && text.charCodeAt(space) !== 32 && text.charCodeAt(space) !== 9) space++;
  // Leading zeros are in the RFC 4475 messages.
  const digits = text.slice(0, space).replace(/^0+(?=\d)/, "");
  const number = readNumber(digits, 2_147_483_647);
  if (number === undefined) return err("CSeq must begin with a number below 2**31");
  const method = text.slice(space).trim();
  return isToken(method) ? ok({ number, method }) : err("CSeq has no method");
}

/** RFC 3261 §20.22. */
export function parseMaxForwards(value: string): number | undefined {
  return readNumber(value.trim(), 255);
}

export interface ContentType {
  /** `type/subtype` in lower case. */
  readonly type: string;
  readonly params: Params;
}

/** RFC 3261 §20.15. */
export function parseContentType(value: string): Result<ContentType, string> {
  const semicolon = value.indexOf(";");
  const type = (semicolon < 0 ? value : value.slice(0, semicolon)).replace(/[ \t]/g, "").toLowerCase();
  const slash = type.indexOf("/");
  if (slash <= 0 || !isToken(type.slice(0, slash)) || !isToken(type.slice(slash + 1)))
    return err("Content-Type must be type/subtype");
  const params = parseParams(semicolon < 0 ? "" : value.slice(semicolon));
  return params.ok ? ok({ type, params: params.value }) : params;
}

/** WWW-Authenticate, Authorization and their like: a scheme and parameters between commas (RFC 3261 §20.7). */
export function parseAuthParams(value: string): Result<{ readonly scheme: string; readonly params: Params }, string> {
  const text = value.trim();
  let i = 0;
  while (i < text.length && text.charCodeAt(i) !== 32 && text.charCodeAt(i) !== 9) i++;
  const scheme = text.slice(0, i);
  if (!isToken(scheme)) return err("credentials have no scheme");
  const params: Params = new Map();
  while (i < text.length) {
    while (i < text.length && (text[i] === " " || text[i] === "\t" || text[i] === ",")) i++;
    if (i >= text.length) break;
    const equals = text.indexOf("=", i);
    if (equals < 0) return err("credentials cannot be read");
    const name = text.slice(i, equals).trim().toLowerCase();
    if (!isToken(name)) return err("credentials cannot be read");
    if (params.has(name)) return err(`${name} stands twice in the credentials`);
    const start = skipSpace(text, equals + 1);
    let end: number;
    if (text[start] === '"') {
      end = endOfQuoted(text, start);
      if (end - start < 2 || text[end - 1] !== '"') return err("quoted string is not closed");
      params.set(name, unquote(text.slice(start, end)));
      end = skipSpace(text, end);
      if (end < text.length && text[end] !== ",") return err("credentials cannot be read");
    } else {
      end = indexOr(text, ",", start, text.length);
      params.set(name, text.slice(start, end).trim());
    }
    i = end;
  }
  return ok({ scheme, params });
}
