import { z } from "zod";

/** One mistake in a configuration: where, what was expected, what was found. */
export interface ConfigProblem {
  readonly file: string;
  /** From 1; missing if the mistake has no place in a file. */
  readonly line?: number;
  readonly column?: number;
  /** `services[0].fork`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
}

/** `tollgate.yaml:14:9 services[0].fork: expected one of sequential, first, all; found "frist"`. */
export function formatProblem(problem: ConfigProblem): string {
  const place = problem.line === undefined ? problem.file : `${problem.file}:${problem.line}:${problem.column ?? 1}`;
  return problem.path === "" ? `${place}: ${problem.message}` : `${place} ${problem.path}: ${problem.message}`;
}

export type Path = readonly (string | number)[];

/** What is wrong at a path, and whether the place to point at is the key there rather than its value. */
export interface Finding {
  readonly path: Path;
  readonly message: string;
  readonly atKey?: boolean;
}

/** The issues of a zod error in the words of a configuration's reader. `input` is the value that was checked. */
export function findings(error: z.ZodError, schema: z.ZodType, input: unknown): Finding[] {
  return error.issues.flatMap((issue) => fromIssue(issue as z.core.$ZodIssue, schema, input, []));
}

function fromIssue(issue: z.core.$ZodIssue, schema: z.ZodType, input: unknown, base: Path): Finding[] {
  const path: Path = [...base, ...(issue.path as (string | number)[])];
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(schema, path);
    return issue.keys.map((key) => ({ path: [...path, key], message: unknownKey(key, known), atKey: true }));
  }
  const secret = SECRETS.has(String(path.at(-1)));
  const withUnit = issue.code === "invalid_type" && numberWithUnit(valueAt(input, path), String(path.at(-1)));
  if (withUnit) return [{ path, message: withUnit }];
  const found = secret ? "something else (not shown here)" : render(valueAt(input, path));
  return [{ path, message: `expected ${expectation(issue)}; found ${found}` }];
}

/** The units in which numbers are, by the end of the setting's name. */
const UNITS = [
  ["Ms", "milliseconds", 1 / 1_000],
  ["S", "seconds", 1],
  ["Days", "days", 86_400],
] as const;
const SECONDS: Readonly<Record<string, number>> = { ms: 1 / 1_000, s: 1, sec: 1, m: 60, min: 60, h: 3_600, d: 86_400 };

/** For a number that was written with its unit: which unit it has anyway, and what to write. */
function numberWithUnit(value: unknown, key: string): string | undefined {
  const read = typeof value === "string" ? /^(\d+(?:\.\d+)?)\s*(ms|s|sec|m|min|h|d)$/i.exec(value.trim()) : null;
  const unit = UNITS.find(([end]) => key.endsWith(end));
  if (!read || !unit) return undefined;
  const number = (Number(read[1]) * SECONDS[read[2]!.toLowerCase()]!) / unit[2];
  return `expected ${unit[1]}, as a number alone: write ${Number(number.toFixed(3))}; found ${render(value)}`;
}

/** Settings whose values must not appear in messages. */
const SECRETS = new Set(["password", "token"]);

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "invalid_value":
      return issue.values.length === 1 ? String(issue.values[0]) : `one of ${issue.values.join(", ")}`;
    case "invalid_type":
      return TYPES[issue.expected] ?? issue.expected;
    case "too_small":
      if (custom(issue.message)) return issue.message;
      return size(issue.origin, issue.inclusive === false ? "more than" : "at least", issue.minimum);
    case "too_big":
      return size(issue.origin, issue.inclusive === false ? "less than" : "at most", issue.maximum);
    case "invalid_union":
      return [...new Set(issue.errors.flat().map((inner) => expectation(inner)))].join(" or ");
    default:
      return issue.message.replace(/^expected /i, "");
  }
}

const TYPES: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: 'a list (each entry on a line with "- ")',
  object: "a section of keys and values",
  record: "a section of keys and values",
};

const custom = (message: string): boolean => !message.startsWith("Too ") && !message.startsWith("Invalid ");

function size(origin: string, bound: string, limit: number | bigint): string {
  if (origin === "array") return `${bound} ${limit} ${Number(limit) === 1 ? "entry" : "entries"}`;
  if (origin === "string") return `text of ${bound} ${limit} characters`;
  return `a number of ${bound} ${limit}`;
}

function render(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list";
  if (typeof value === "object" && value !== null) return "a section of keys and values";
  const text = JSON.stringify(value).replace(/\/\/[^\s/"]*@/, "//***@"); // user and password in a URL
  return text.length > 80 ? `${text.slice(0, 77)}..."` : text;
}

function valueAt(value: unknown, path: Path): unknown {
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<string | number, unknown>)[key];
  }
  return value;
}

function unknownKey(key: string, known: readonly string[]): string {
  const near = closest(key, known);
  if (near !== undefined) return `unknown key; did you mean ${near}?`;
  return known.length === 0 ? "unknown key" : `unknown key; known here: ${known.join(", ")}`;
}

/** The candidate that differs from the word by the fewest edits, if these are few enough for a typing mistake. */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = edits(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Edits from one word to the other (insert, remove, replace, swap of neighbours). */
function edits(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2]! + 1);
      next.push(cost);
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}

/** The keys that the schema knows at a path: through defaults, lists and transforms down to the object there. */
function knownKeys(schema: z.ZodType, path: Path): string[] {
  let at = unwrap(schema);
  for (const key of path) {
    if (at instanceof z.ZodObject) at = unwrap(at.shape[key] as z.ZodType | undefined);
    else if (at instanceof z.ZodArray) at = unwrap(at.element as z.ZodType);
    else return [];
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : [];
}

function unwrap(schema: z.ZodType | undefined): z.ZodType | undefined {
  for (;;) {
    if (schema instanceof z.ZodPipe) {
      // In a preprocess the transform comes first, in a transform last. The schema is the other part.
      const first = schema.def.in as z.ZodType;
      schema = first instanceof z.ZodTransform ? (schema.def.out as z.ZodType) : first;
    } else if (
      schema instanceof z.ZodDefault ||
      schema instanceof z.ZodPrefault ||
      schema instanceof z.ZodOptional ||
      schema instanceof z.ZodExactOptional ||
      schema instanceof z.ZodReadonly
    ) {
      schema = schema.def.innerType as z.ZodType;
    } else return schema;
  }
}
