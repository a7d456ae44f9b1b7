import { err, ok, type Result } from "../support/result.ts";
import {
  BACKSLASH,
  COMMA,
  EQUALS,
  endOfQuoted,
  GREATER,
  LESS,
  QUOTE,
  SEMICOLON,
  SP,
  skipSpace,
  skipSpaceBack,
  TAB,
  TOKEN,
  within,
} from "./chars.ts";
import { find, octetsOf, skipBlanks, skipQuoted, skipToken, Words } from "./octets.ts";

/** Parameters and lists, the two things of which most header values are made (RFC 3261 §7.3.1, §25.1). */

/**
 * With more parameters than this, a Map holds them: a message may have thousands, and each new name is compared with
 * all before it.
 */
const MOST_IN_CHAIN = 12;

class Param {
  readonly name: string;
  value: string;
  next: Param | undefined = undefined;

  constructor(name: string, value: string) {
    this.name = name;
    this.value = value;
  }
}

/**
 * Parameters in the order of the text. Names are lower-case, and values have no quotes. A parameter without a value has
 * "". They are a chain: most chains are so short that walking them is faster than any table, and takes less memory.
 */
export class Params {
  private first: Param | undefined = undefined;
  /** In place of the chain, if there are many. */
  private many: Map<string, string> | undefined = undefined;

  constructor(entries?: Iterable<readonly [name: string, value: string]>) {
    if (entries) for (const [name, value] of entries) this.set(name, value);
  }

  get size(): number {
    if (this.many) return this.many.size;
    let size = 0;
    for (let param = this.first; param; param = param.next) size++;
    return size;
  }

  get(name: string): string | undefined {
    if (this.many) return this.many.get(name);
    for (let param = this.first; param; param = param.next) if (param.name === name) return param.value;
    return undefined;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  set(name: string, value: string): this {
    if (this.add(name, value)) return this;
    if (this.many) this.many.set(name, value);
    else for (let param = this.first; param; param = param.next) if (param.name === name) param.value = value;
    return this;
  }

  /** Adds a parameter. Returns false, and changes nothing, if one of that name is there already. */
  add(name: string, value: string): boolean {
    if (this.many) {
      if (this.many.has(name)) return false;
      this.many.set(name, value);
      return true;
    }
    let last: Param | undefined;
    let count = 0;
    for (let param = this.first; param; param = param.next) {
      if (param.name === name) return false;
      last = param;
      count++;
    }
    if (last) last.next = new Param(name, value);
    else this.first = new Param(name, value);
    if (count === MOST_IN_CHAIN) {
      this.many = new Map(this);
      this.first = undefined;
    }
    return true;
  }

  *[Symbol.iterator](): IterableIterator<[name: string, value: string]> {
    if (this.many) yield* this.many;
    else for (let param = this.first; param; param = param.next) yield [param.name, param.value];
  }
}

/** Parameters that are only read. */
export type ReadonlyParams = Pick<Params, "size" | "get" | "has" | typeof Symbol.iterator>;

/** Shared by everything that has no parameters. */
export const NO_PARAMS: ReadonlyParams = new Params();

/**
 * Reads `;name=value;name` from `from` to `to` of a text with those octets. If `list` is set, a comma also ends the
 * list. Returns where it ended, or -1 if this is no list of parameters. RFC 3261 §7.3.1: no name may come twice.
 */
export function readParams(
  text: string,
  octets: Buffer,
  from: number,
  to: number,
  params: Params,
  list = false,
): number {
  let i = skipBlanks(octets, from, to);
  while (i < to) {
    const c = octets[i]!;
    if (c === COMMA && list) return i;
    if (c !== SEMICOLON) return -1;
    const start = skipBlanks(octets, i + 1, to);
    i = skipToken(octets, start, to);
    if (i === start) return -1;
    const name = COMMON.find(octets, start, i) ?? text.slice(start, i).toLowerCase();
    i = skipBlanks(octets, i, to);
    let value = "";
    if (i < to && octets[i] === EQUALS) {
      const valueStart = skipBlanks(octets, i + 1, to);
      const end = endOfValue(octets, valueStart, to, list);
      if (end < 0) return -1;
      value = valueIn(text, octets, valueStart, end);
      i = skipBlanks(octets, end, to);
    }
    if (!params.add(name, value)) return -1;
  }
  return i;
}

/** Names that stand in nearly every message. They are found in place: no string is cut out for them. */
const COMMON = new Words(
  "branch rport received tag lr transport maddr ttl user ob expires q".split(" ").map((name) => [name, name]),
);

/** gen-value = token / host / quoted-string; whatever is no separator is taken (RFC 5118 §4.5: a bare IPv6 address). */
function endOfValue(octets: Buffer, from: number, to: number, list: boolean): number {
  if (from < to && octets[from] === QUOTE) return skipQuoted(octets, from, to);
  let i = from;
  for (; i < to; i++) {
    const c = octets[i]!;
    if (TOKEN[c] === 1) continue;
    if (c === SEMICOLON || c === SP || c === TAB) break;
    if (c === COMMA && list) break;
    if (c < SP || c === QUOTE || c === COMMA || c === LESS || c === GREATER || c === 0x7f) return -1;
  }
  return i;
}

/** The value that stands from `from` to `to`, without its quotes. */
export function valueIn(text: string, octets: Buffer, from: number, to: number): string {
  if (from === to || octets[from] !== QUOTE) return text.slice(from, to);
  return find(octets, BACKSLASH, from, to) < 0 ? text.slice(from + 1, to - 1) : unquote(text.slice(from, to));
}

/** Parameters `;a=b;c` (the first semicolon may be missing). The error is a reason phrase. */
export function parseParams(text: string): Result<Params, string> {
  const params = new Params();
  const start = skipSpace(text, 0);
  if (start === text.length) return ok(params);
  const whole = text.charCodeAt(start) === SEMICOLON ? text : `;${text}`;
  return readParams(whole, octetsOf(whole), 0, whole.length, params) < 0 ? err("Bad Parameters") : ok(params);
}

/** `;name=value;name`, or "". What is neither a token nor a host is put in quotes. */
export function formatParams(params: Iterable<readonly [name: string, value: string]>): string {
  let text = "";
  for (const [name, value] of params) {
    if (value === "") text += `;${name}`;
    else text += within(BARE, value) ? `;${name}=${value}` : `;${name}=${quote(value)}`;
  }
  return text;
}

/** What may stand in a value without quotes: token, and host with its brackets and colons. */
const BARE = TOKEN.slice();
for (const c of "[]:") BARE[c.charCodeAt(0)] = 1;

/**
 * The elements of a list between commas, trimmed; empty ones are left out. A comma in quotes or angle brackets does
 * not count.
 */
export function splitList(value: string): string[] {
  const elements: string[] = [];
  if (!value.includes(",")) {
    const only = value.trim();
    if (only !== "") elements.push(only);
    return elements;
  }
  let start = 0;
  for (let i = 0; i <= value.length; ) {
    const end = i === value.length ? i : nextSeparator(COMMA, value, i);
    const from = skipSpace(value, start);
    const to = skipSpaceBack(value, from, end);
    if (to > from) elements.push(value.slice(from, to));
    i = start = end + 1;
  }
  return elements;
}

/**
 * The next place of that character, a comma or semicolon, outside of quotes and angle brackets, or the end of the text.
 */
export function nextSeparator(separator: number, value: string, from: number): number {
  for (let i = from; i < value.length; i++) {
    const c = value.charCodeAt(i);
    if (c === separator) return i;
    if (c === QUOTE) {
      const end = endOfQuoted(value, i);
      if (end < 0) return value.length;
      i = end - 1;
    } else if (c === LESS) {
      const end = value.indexOf(">", i);
      if (end < 0) return value.length;
      i = end;
    }
  }
  return value.length;
}

/** The elements of all lines of a header that lists tokens: Allow, Supported, Require, Recv-Info (RFC 3261 §20). */
export function tokenList(lines: readonly string[]): string[] {
  if (lines.length === 0) return [];
  return splitList(lines.length === 1 ? lines[0]! : lines.join(","));
}

/** The text that a quoted string stands for (RFC 3261 §25.1); what is not quoted comes back as it is. */
export function unquote(value: string): string {
  if (value.length < 2 || value.charCodeAt(0) !== QUOTE) return value;
  const inner = value.slice(1, -1);
  if (!inner.includes("\\")) return inner;
  let text = "";
  for (let i = 0; i < inner.length; i++) {
    if (inner.charCodeAt(i) === BACKSLASH && i + 1 < inner.length) i++;
    text += inner[i];
  }
  return text;
}

/** A quoted string that stands for the text. Line breaks cannot be written in one and become spaces. */
export function quote(text: string): string {
  if (!/["\\\r\n]/.test(text)) return `"${text}"`;
  return `"${text.replace(/[\r\n]+/g, " ").replace(/["\\]/g, "\\$&")}"`;
}
