import { err, ok, type Result } from "../support/result.ts";
import { COMMA, EQUALS, endOfQuoted, QUOTE, SP, skipSpace, TAB, TOKEN } from "./chars.ts";
import { Params, type ReadonlyParams, unquote } from "./params.ts";

/** A challenge or credentials (RFC 3261 §20.7, §20.44): the scheme and its parameters. */
export interface AuthParams {
  /** As written: `Digest`. */
  readonly scheme: string;
  /** Names lower-case, values without quotes. Empty for schemes whose credentials are no parameters, such as Bearer. */
  readonly params: ReadonlyParams;
}

const BAD = err("Bad Authentication Parameters");

/** Reads a value of WWW-Authenticate, Authorization and their Proxy- forms; each stands on a line of its own (RFC 3261 §7.3.1). */
export function parseAuthParams(text: string): Result<AuthParams, string> {
  const start = skipSpace(text, 0);
  let i = start;
  while (i < text.length && TOKEN[text.charCodeAt(i)] === 1) i++;
  if (i === start) return BAD;
  const scheme = text.slice(start, i);
  const params = new Params();
  i = skipSpace(text, i);
  if (isToken68(text, i)) return ok({ scheme, params });
  while (i < text.length) {
    const nameStart = i;
    while (i < text.length && TOKEN[text.charCodeAt(i)] === 1) i++;
    const name = text.slice(nameStart, i).toLowerCase();
    i = skipSpace(text, i);
    if (name === "" || text.charCodeAt(i) !== EQUALS) return BAD;
    const valueStart = skipSpace(text, i + 1);
    i = endOfAuthValue(text, valueStart);
    if (i < 0 || !params.add(name, unquote(text.slice(valueStart, i)))) return BAD;
    i = skipSpace(text, i);
    if (i === text.length) break;
    if (text.charCodeAt(i) !== COMMA) return BAD;
    i = skipSpace(text, i + 1);
  }
  return ok({ scheme, params });
}

function endOfAuthValue(text: string, from: number): number {
  if (text.charCodeAt(from) === QUOTE) return endOfQuoted(text, from);
  let i = from;
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === COMMA || c === SP || c === TAB) break;
    if (c < SP || c === QUOTE) return -1;
  }
  return i;
}

/** RFC 7235 §2.1: one word in place of parameters, perhaps with `=` at its end. */
function isToken68(text: string, from: number): boolean {
  let i = from;
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === EQUALS || c === SP || c === TAB || c === COMMA || c === QUOTE) break;
  }
  if (i === from) return i === text.length;
  while (text.charCodeAt(i) === EQUALS) i++;
  return skipSpace(text, i) === text.length;
}
