import { isCurrency } from "../money/currency.ts";
import { isDecimal } from "../money/money.ts";

/*
 * What a field may hold, in one place. It is checked at the door, where an app server is answered, and again in
 * billing, where an event may come from anybody. What passes at the door passes in billing, and every store can write
 * it (decision 17).
 */

/** What is wrong with a value, as a predicate: "must be text, is 7"; undefined: nothing. */
export type Check = (value: unknown) => string | undefined;

/** A check for every field of a type, also for those that may be missing. */
export type Checks<T> = { readonly [K in keyof T]-?: Check };

/** The latest time of JavaScript's dates, in milliseconds since 1970. */
const MAX_TIME_MS = 8.64e15;

/**
 * For names, which are parts of the store's keys: text of at most `maxBytes` bytes in UTF-8. No NUL, since it ends a
 * key, and no half characters (lone surrogates), since UTF-8 changes them.
 */
export function name(maxBytes: number): Check {
  return (value) => {
    if (typeof value !== "string" || value.length === 0) return `must be text, is ${quote(value)}`;
    if (value.length <= maxBytes && isPlain(value)) return undefined;
    const bytes = Buffer.byteLength(value);
    if (bytes > maxBytes) return `must be text of at most ${maxBytes} bytes, has ${bytes}`;
    return /[\0\p{Cs}]/u.test(value) ? "must be text without NUL and half characters" : undefined;
  };
}

/** For text that people read: at most `most` characters, on one line. */
export function label(most: number): Check {
  return (value) => {
    if (value === undefined) return "is missing";
    if (typeof value !== "string") return `must be text, is ${quote(value)}`;
    if (value.trim() === "") return "must not be empty";
    if (value.length > most) return `must have at most ${most} characters, has ${value.length}`;
    return isPlain(value) || !BREAKS.test(value) ? undefined : "must have no control characters";
  };
}

/** Control characters, which break reports; half characters (lone surrogates), which UTF-8 changes; line separators. */
const BREAKS = /[\p{Cc}\p{Cs}\u2028\u2029]/u;
const ALL_BREAKS = new RegExp(BREAKS, "gu");

/** Makes any text pass `label(most)`. For texts of the relay itself. */
export function asLabel(text: string, most: number): string {
  if (text.length <= most && isPlain(text)) return text;
  const clean = text.slice(0, most + 1).replace(ALL_BREAKS, " ");
  return clean.length <= most ? clean : `${clean.slice(0, most - 3).replace(ALL_BREAKS, "")}...`;
}

/** A decimal string of 0 or more: never a float (decision 10). */
export function decimal(digits: number, decimals: number, expected = "0 or more"): Check {
  return (value) => {
    if (value === undefined) return "is missing";
    if (typeof value === "number") return `must be in quotes where it is not a whole number, is ${quote(value)}`;
    if (typeof value !== "string") return `must be a decimal number, is ${quote(value)}`;
    if (isDecimal(value, digits, decimals)) return undefined;
    if (/^-\d/.test(value)) return `must not be negative, is ${quote(value)}: refunds are not taken`;
    return `must be a decimal number ${expected}, at most ${digits} digits and ${decimals} decimals, is ${quote(value)}`;
  };
}

export const currency: Check = (value) => {
  if (value === undefined) return "is missing";
  if (typeof value === "string" && isCurrency(value)) return undefined;
  return `must be an ISO 4217 code such as EUR, is ${quote(value)}`;
};

/** Milliseconds since 1970. */
export const time: Check = (value) => (isMilliseconds(value) ? undefined : "must be a time in milliseconds");

export const duration: Check = (value) => (isMilliseconds(value) ? undefined : "must be milliseconds");

function isMilliseconds(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= MAX_TIME_MS;
}

export function seconds(least: number): Check {
  return (value) =>
    typeof value === "number" && value >= least && value <= MAX_TIME_MS
      ? undefined
      : `must be seconds, at least ${least}`;
}

export function oneOf(...values: readonly string[]): Check {
  return (value) => (values.includes(value as string) ? undefined : `must be ${values.join(", ")}`);
}

/** Text of a certain form; `expected` describes the form. */
export function written(form: RegExp, expected: string): Check {
  return (value) => (typeof value === "string" && form.test(value) ? undefined : `must be ${expected}`);
}

/** Text of any characters, from `least` to `most` of them. */
export function textUpTo(most: number, least = 1): Check {
  return (value) => {
    if (typeof value !== "string") return `must be text, is ${quote(value)}`;
    if (value.length > most) return `must have at most ${most} characters, has ${value.length}`;
    return value.length < least ? "must not be empty" : undefined;
  };
}

/** An object of at most `most` names, each with a text of at most `length` characters. */
export function texts(most: number, length: number): Check {
  const text = textUpTo(length, 0);
  return (value) => {
    const missing = isMissing(value);
    if (missing !== undefined) return missing;
    const all = Object.entries(value as object);
    if (all.length > most) return `must have at most ${most} names`;
    for (const [name, one] of all) {
      const problem = text(one);
      if (problem !== undefined) return `.${name} ${problem}`;
    }
    return undefined;
  };
}

/** A whole number from 0 to `most`. */
export function count(most: number): Check {
  return (value) =>
    Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most
      ? undefined
      : `must be a whole number from 0 to ${most}, is ${quote(value)}`;
}

export const truth: Check = (value) => (typeof value === "boolean" ? undefined : "must be true or false");

/** A list of at most `most` values that `check` allows. */
export function list(check: Check, most: number): Check {
  return (value) => {
    if (!Array.isArray(value)) return "must be a list";
    if (value.length > most) return `must be a list of at most ${most}`;
    for (let i = 0; i < value.length; i++) {
      const problem = check(value[i]);
      if (problem !== undefined) return problem.startsWith(".") ? `.${i}${problem}` : `.${i} ${problem}`;
    }
    return undefined;
  };
}

/** The same check for a value that may be missing. */
export const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined ? undefined : check(value);

/** An object with these fields. Its messages begin with a dot and the field's name: ".user must be text". */
export function fields<T>(checks: Checks<T>): Check {
  // Two lists and a plain loop, for speed: this is done for every session and every event.
  const names = Object.keys(checks);
  const all = Object.values<Check>(checks);
  return (value) => {
    const missing = isMissing(value);
    if (missing !== undefined) return missing;
    for (let i = 0; i < all.length; i++) {
      const problem = all[i]!((value as Readonly<Record<string, unknown>>)[names[i]!]);
      if (problem !== undefined) return problem.startsWith(".") ? `.${names[i]}${problem}` : `.${names[i]} ${problem}`;
    }
    return undefined;
  };
}

/** The same check for objects that live long: one that has passed is not checked again. */
export function once(check: Check): Check {
  const passed = new WeakSet();
  return (value) => {
    const isObject = typeof value === "object" && value !== null;
    if (isObject && passed.has(value)) return undefined;
    const problem = check(value);
    if (isObject && problem === undefined) passed.add(value);
    return problem;
  };
}

/** Whether the value is not an object, so that there are no fields to check. */
export const isMissing: Check = (value) =>
  typeof value === "object" && value !== null ? undefined : value === undefined ? "is missing" : "must be an object";

/** ASCII without control characters. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e) return false;
  }
  return true;
}

/** A value for messages, short and in printable ASCII: it goes into reason phrases and the log. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return short.replace(/[^\x20-\x7e]/g, "?");
}
