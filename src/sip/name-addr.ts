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
} from "./chars.ts";
import { octetsOf, skipBlanks, skipBlanksBack, skipClass, skipQuoted, skipToken, standsAt } from "./octets.ts";
import {
  formatParams,
  NO_PARAMS,
  nextSeparator,
  Params,
  quote,
  type ReadonlyParams,
  readParams,
  unquote,
} from "./params.ts";

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
 * Reads the first name-addr or addr-spec of a line, with its parameters. Without angle brackets, all parameters
 * belong to the header field, and the URI may hold neither comma nor question mark (RFC 3261 §20.10).
 */
export function parseNameAddr(text: string): Result<NameAddr, string> {
  return readNameAddr(text, true);
}

/** The same for From and To, which hold one address and no more. */
export function parseOneNameAddr(text: string): Result<NameAddr, string> {
  return readNameAddr(text, false);
}

function readNameAddr(text: string, list: boolean): Result<NameAddr, string> {
  const octets = octetsOf(text);
  if (!locate(octets, 0, text.length, list)) return BAD_ADDRESS;
  const { displayFrom, displayTo, uriFrom, uriTo, end } = places;
  let params = NO_PARAMS;
  if (end < text.length) {
    const written = new Params();
    if (readParams(text, octets, end, text.length, written, list) < 0) return BAD_ADDRESS;
    params = written;
  }
  const uri = text.slice(uriFrom, uriTo);
  return ok(displayFrom < 0 ? { uri, params } : { display: unquote(text.slice(displayFrom, displayTo)), uri, params });
}

/**
 * Checks an address as `parseNameAddr` does (with `list`) or `parseOneNameAddr` does. Returns its tag, null if it has
 * none, and undefined if it is no such address. Nothing but the tag is cut out of the text.
 */
export function tagIn(
  text: string,
  list: boolean,
  octets = octetsOf(text),
  from = 0,
  to = text.length,
): string | null | undefined {
  if (!locate(octets, from, to, list)) return undefined;
  const { end } = places;
  if (end === to) return null;
  if (isOnlyTag(octets, end, to)) return text.slice(end + 5, to);
  const params = new Params();
  return readParams(text, octets, end, to, params, list) < 0 ? undefined : (params.get("tag") ?? null);
}

const TAG = Buffer.from(";tag=");

/** Whether nothing but `;tag=` and a token stands there. */
function isOnlyTag(octets: Buffer, from: number, to: number): boolean {
  const token = from + TAG.length;
  return token < to && standsAt(TAG, octets, from) && skipToken(octets, token, to) === to;
}

/** Where `locate` found the parts of the last address. `displayFrom` is -1 if the address has no display name. */
const places = { displayFrom: -1, displayTo: -1, uriFrom: 0, uriTo: 0, end: 0 };

/** Finds the first address there, up to its parameters. */
function locate(octets: Buffer, from: number, to: number, list: boolean): boolean {
  const start = skipBlanks(octets, from, to);
  places.displayFrom = -1;
  let less = start;
  if (start < to && octets[start] === QUOTE) {
    const end = skipQuoted(octets, start, to);
    if (end < 0) return false;
    less = skipBlanks(octets, end, to);
    if (less >= to || octets[less] !== LESS) return false;
    places.displayFrom = start;
    places.displayTo = end;
  } else {
    for (; less < to && octets[less] !== LESS; less++)
      if (octets[less] === QUOTE) return locateAddrSpec(octets, start, to, list);
    if (less === to) return locateAddrSpec(octets, start, to, list);
    if (less > start) {
      const end = skipBlanksBack(octets, start, less);
      // This is no display name: the bracket belongs to a later address of the list (`sip:a@b, <sip:c@d>`), or to
      // nothing.
      if (!isDisplayName(octets, start, end)) return locateAddrSpec(octets, start, to, list);
      places.displayFrom = start;
      places.displayTo = end;
    }
  }
  const greater = endOfUri(octets, less + 1, to);
  places.uriFrom = less + 1;
  places.uriTo = greater;
  places.end = greater + 1;
  return greater > 0 && greater < to && octets[greater] === GREATER;
}

function locateAddrSpec(octets: Buffer, start: number, to: number, list: boolean): boolean {
  let end = start;
  for (; end < to; end++) {
    const c = octets[end]!;
    if (c === SEMICOLON || c === SP || c === TAB) break;
    if (c === COMMA && list) break;
    if (c === COMMA || c === QUESTION) return false;
  }
  places.uriFrom = start;
  places.uriTo = places.end = end;
  return endOfUri(octets, start, end) === end;
}

/**
 * Where the URI that begins at `from` ends: at the first space, control, quote or angle bracket, or at `to`. Returns -1
 * if no URI stands there: a scheme, a colon, and at least one character.
 */
function endOfUri(octets: Buffer, from: number, to: number): number {
  const colon = skipClass(SCHEME, octets, from, to);
  if (colon === from || colon >= to || octets[colon] !== COLON) return -1;
  let i = colon + 1;
  for (; i < to; i++) {
    const c = octets[i]!;
    if (TOKEN[c] === 1) continue;
    if (c <= SP || c === QUOTE || c === LESS || c === GREATER || c === 0x7f) break;
  }
  return i > colon + 1 ? i : -1;
}

/**
 * display-name = *(token LWS). DEVIATION: characters that phones in the field send unquoted are accepted too (`@`, `(`,
 * `/`, octets of UTF-8), but none that could be a separator. So `Bell, Alexander <sip:...>` is refused (RFC 4475
 * §3.1.2.15).
 */
function isDisplayName(octets: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i++) {
    const c = octets[i]!;
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
 * A From or To value with that tag in place of the one it may have; with `undefined`, without a tag (RFC 3261
 * §8.2.6.2). Everything else stays as written.
 */
export function withTag(value: string, tag: string | undefined): string {
  const added = tag === undefined ? "" : `;tag=${tag}`;
  let at = startOfParams(value);
  while (at < value.length) {
    const name = skipSpace(value, at + 1);
    const end = nextSeparator(SEMICOLON, value, name);
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
  return nextSeparator(SEMICOLON, value, greater < 0 ? i : greater);
}

function isTag(value: string, at: number): boolean {
  const next = value.charCodeAt(skipSpace(value, at + 3));
  return (
    value.slice(at, at + 3).toLowerCase() === "tag" && (next === EQUALS || next === SEMICOLON || Number.isNaN(next))
  );
}
