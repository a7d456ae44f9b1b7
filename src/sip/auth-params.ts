import { err, ok, type Result } from "../support/result.ts";
import { COMMA, EQUALS, QUOTE, SP, TAB } from "./chars.ts";
import { octetsOf, skipBlanks, skipQuoted, skipToken, Words } from "./octets.ts";
import { Params, type ReadonlyParams, valueIn } from "./params.ts";

/** A challenge or credentials (RFC 3261 §20.7, §20.44): the scheme and its parameters. */
export interface AuthParams {
  /** As written: `Digest`. */
  readonly scheme: string;
  /** Names lower-case, values without quotes. Empty for schemes whose credentials are no parameters, such as Bearer. */
  readonly params: ReadonlyParams;
}

const BAD = err("Bad Authentication Parameters");

let lastText = "";
let lastRead: Result<AuthParams, string> = BAD;

/**
 * Reads a value of WWW-Authenticate, Authorization and their Proxy- forms; each stands on a line of its own (RFC 3261
 * §7.3.1).
 */
export function parseAuthParams(text: string): Result<AuthParams, string> {
  // The same line is read twice in a row: once to check the credentials, and once to pass them on. So the last result
  // is kept.
  if (text !== lastText) {
    lastRead = read(text);
    lastText = text;
  }
  return lastRead;
}

function read(text: string): Result<AuthParams, string> {
  const octets = octetsOf(text);
  const to = text.length;
  const start = skipBlanks(octets, 0, to);
  let i = skipToken(octets, start, to);
  if (i === start) return BAD;
  const scheme = text.slice(start, i);
  const params = new Params();
  i = skipBlanks(octets, i, to);
  if (isToken68(octets, i, to)) return ok({ scheme, params });
  while (i < to) {
    const nameStart = i;
    i = skipToken(octets, nameStart, to);
    const name = COMMON.find(octets, nameStart, i) ?? text.slice(nameStart, i).toLowerCase();
    i = skipBlanks(octets, i, to);
    if (name === "" || i >= to || octets[i] !== EQUALS) return BAD;
    const valueStart = skipBlanks(octets, i + 1, to);
    i = endOfAuthValue(octets, valueStart, to);
    if (i < 0 || !params.add(name, valueIn(text, octets, valueStart, i))) return BAD;
    i = skipBlanks(octets, i, to);
    if (i === to) break;
    if (octets[i] !== COMMA) return BAD;
    i = skipBlanks(octets, i + 1, to);
  }
  return ok({ scheme, params });
}

/** The parameter names of Digest (RFC 7616 §3.4). A known name is found in place: no string is cut out for it. */
const COMMON = new Words(
  "username realm nonce uri response algorithm cnonce opaque qop nc stale userhash"
    .split(" ")
    .map((name) => [name, name]),
);

function endOfAuthValue(octets: Buffer, from: number, to: number): number {
  if (from < to && octets[from] === QUOTE) return skipQuoted(octets, from, to);
  let i = from;
  for (; i < to; i++) {
    const c = octets[i]!;
    if (c === COMMA || c === SP || c === TAB) break;
    if (c < SP || c === QUOTE) return -1;
  }
  return i;
}

/** RFC 7235 §2.1: one word in place of parameters, perhaps with `=` at its end. */
function isToken68(octets: Buffer, from: number, to: number): boolean {
  let i = from;
  for (; i < to; i++) {
    const c = octets[i]!;
    if (c === EQUALS || c === SP || c === TAB || c === COMMA || c === QUOTE) break;
  }
  if (i === from) return i === to;
  while (i < to && octets[i] === EQUALS) i++;
  return skipBlanks(octets, i, to) === to;
}
