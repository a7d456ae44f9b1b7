import { err, ok, type Result } from "../support/result.ts";
import {
  BACKSLASH,
  COLON,
  COMMA,
  EQUALS,
  endOfQuoted,
  GREATER,
  LESS,
  QUESTION,
  QUOTE,
  SCHEME,
  SEMICOLON,
  SP,
  skipSpace,
  skipSpaceBack,
  TAB,
  TOKEN,
  within,
} from "./chars.ts";
import { formatParams, NO_PARAMS, Params, quote, type ReadonlyParams, readParams, unquote } from "./params.ts";

/** name-addr or addr-spec with the parameters of the header field: From, To, Contact, Route (RFC 3261 §20.10). */
export interface NameAddr {
  /** Without quotes and escapes. */
  readonly display?: string;
  /** As written; `parseUri` reads it. */
  readonly uri: string;
  readonly params: ReadonlyParams;
}

const BAD_ADDRESS = err("Bad Address");

/**
 * Reads the first name-addr or addr-spec of a line, with its parameters. Without angle brackets, all parameters belong to the header field, and the
 * URI may hold neither comma nor question mark (RFC 3261 §20.10).
 */
export function parseNameAddr(text: string): Result<NameAddr, string> {
  return readNameAddr(text, true);
}

/** The same for From and To, which hold one address and no more. */
export function parseOneNameAddr(text: string): Result<NameAddr, string> {
  return readNameAddr(text, false);
}

function readNameAddr(text: string, list: boolean): Result<NameAddr, string> {
  if (!locate(text, list)) return BAD_ADDRESS;
  const { displayFrom, displayTo, uriFrom, uriTo, end } = places;
  let params = NO_PARAMS;
  if (end < text.length) {
    const written = new Params();
    if (readParams(text, end, written, list) < 0) return BAD_ADDRESS;
    params = written;
  }
  const uri = text.slice(uriFrom, uriTo);
  return ok(displayFrom < 0 ? { uri, params } : { display: unquote(text.slice(displayFrom, displayTo)), uri, params });
}

/**
 * Checks an address as `parseNameAddr` does (with `list`) or `parseOneNameAddr` does. Returns its tag, null where it has none, and
 * undefined where it is no such address. Nothing but the tag is cut out of the text.
 */
export function tagIn(text: string, list: boolean): string | null | undefined {
  if (!locate(text, list)) return undefined;
  const { end } = places;
  if (end === text.length) return null;
  const onlyTag = valueOfOnlyTag(text, end);
  if (onlyTag > 0) return text.slice(onlyTag);
  const params = new Params();
  return readParams(text, end, params, list) < 0 ? undefined : (params.get("tag") ?? null);
}

/** Where the value begins if nothing but `;tag=` and a token stands from there to the end of the text; otherwise -1. */
function valueOfOnlyTag(text: string, from: number): number {
  return text.startsWith(";tag=", from) && within(TOKEN, text, from + 5) ? from + 5 : -1;
}

/** Where the parts of an address stand in the text that `locate` was last asked about. `displayFrom` is -1 where there is none. */
const places = { displayFrom: -1, displayTo: -1, uriFrom: 0, uriTo: 0, end: 0 };

/** Finds the first address of a text, up to its parameters. */
function locate(text: string, list: boolean): boolean {
  const start = skipSpace(text, 0);
  places.displayFrom = -1;
  let less: number;
  if (text.charCodeAt(start) === QUOTE) {
    const end = endOfQuoted(text, start);
    if (end < 0) return false;
    less = skipSpace(text, end);
    if (text.charCodeAt(less) !== LESS) return false;
    places.displayFrom = start;
    places.displayTo = end;
  } else {
    less = text.indexOf("<", start);
    const quoted = less < 0 ? -1 : text.indexOf('"', start);
    if (less < 0 || (quoted >= 0 && quoted < less)) return locateAddrSpec(text, start, list);
    if (less > start) {
      const end = skipSpaceBack(text, start, less);
      // No name: the bracket belongs to a later address of the list (`sip:a@b, <sip:c@d>`), or to nothing.
      if (!isDisplayName(text, start, end)) return locateAddrSpec(text, start, list);
      places.displayFrom = start;
      places.displayTo = end;
    }
  }
  const greater = text.indexOf(">", less);
  places.uriFrom = less + 1;
  places.uriTo = greater;
  places.end = greater + 1;
  return isUriText(text, less + 1, greater);
}

function locateAddrSpec(text: string, start: number, list: boolean): boolean {
  let end = start;
  for (; end < text.length; end++) {
    const c = text.charCodeAt(end);
    if (c === SEMICOLON || c === SP || c === TAB) break;
    if (c === COMMA && list) break;
    if (c === COMMA || c === QUESTION) return false;
  }
  places.uriFrom = start;
  places.uriTo = places.end = end;
  return isUriText(text, start, end);
}

/** A scheme, a colon, and something behind it without spaces, controls, quotes or angle brackets. */
function isUriText(text: string, from: number, to: number): boolean {
  let i = from;
  while (i < to && SCHEME[text.charCodeAt(i)] === 1) i++;
  if (i === from || i + 1 >= to || text.charCodeAt(i) !== COLON) return false;
  for (i++; i < to; i++) {
    const c = text.charCodeAt(i);
    if (c <= SP || c === QUOTE || c === LESS || c === GREATER || c === 0x7f) return false;
  }
  return true;
}

/**
 * display-name = *(token LWS). DEVIATION: besides tokens, what phones in the field send unquoted is taken (`@`, `(`, `/`, octets of
 * UTF-8), as long as nobody can mistake it for a separator: `Bell, Alexander <sip:...>` is refused (RFC 4475 §3.1.2.15).
 */
function isDisplayName(text: string, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const c = text.charCodeAt(i);
    if (TOKEN[c] === 1 || c === SP || c === TAB) continue;
    if (c < SP || c === 0x7f || c === COMMA || c === SEMICOLON || c === COLON || c === GREATER || c === BACKSLASH)
      return false;
  }
  return true;
}

/** Writes name-addr, always with angle brackets. */
export function formatNameAddr(address: NameAddr): string {
  const display = address.display === undefined || address.display === "" ? "" : `${quote(address.display)} `;
  return `${display}<${address.uri}>${formatParams(address.params)}`;
}

/**
 * A From or To value with that tag in place of the one it may have; with `undefined`, without a tag (RFC 3261 §8.2.6.2). Everything
 * else stays as written.
 */
export function withTag(value: string, tag: string | undefined): string {
  const added = tag === undefined ? "" : `;tag=${tag}`;
  let at = startOfParams(value);
  while (at < value.length) {
    const name = skipSpace(value, at + 1);
    const end = nextSemicolon(value, name);
    if (isTag(value, name)) {
      const head = value.slice(0, skipSpaceBack(value, 0, at));
      return head + added + value.slice(end);
    }
    at = end;
  }
  return added === "" ? value : value.slice(0, skipSpaceBack(value, 0, value.length)) + added;
}

function startOfParams(value: string): number {
  let i = skipSpace(value, 0);
  if (value.charCodeAt(i) === QUOTE) i = Math.max(i, endOfQuoted(value, i));
  const greater = value.indexOf(">", i);
  return nextSemicolon(value, greater < 0 ? i : greater);
}

function nextSemicolon(value: string, from: number): number {
  for (let i = from; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if (c === SEMICOLON) return i;
    if (c === QUOTE) {
      const end = endOfQuoted(value, i);
      if (end < 0) return value.length;
      i = end - 1;
    }
  }
  return value.length;
}

function isTag(value: string, at: number): boolean {
  const next = value.charCodeAt(skipSpace(value, at + 3));
  return (
    value.slice(at, at + 3).toLowerCase() === "tag" && (next === EQUALS || next === SEMICOLON || Number.isNaN(next))
  );
}
