import { err, ok, type Result } from "../support/result.ts";

/** Of what comes from the network, no more than this many characters are matched; longer text matches nothing. */
export const MATCH_CHARS = 1024;

/** A compiled pattern of a rule: the operator wrote the pattern, a stranger wrote the text. */
export interface Pattern {
  /** Groups, the whole match first; undefined where the text does not match as a whole or is too long. */
  match(text: string): readonly (string | undefined)[] | undefined;
  readonly groups: number;
}

/**
 * Compiles a regular expression that is anchored at both ends, in the syntax that RE2 and JavaScript share. What makes a
 * backtracking matcher slow without bound is refused: back-references, look-around, and a repeated group that can match the same
 * text in several ways, as in `(a+)+` or `(a|aa)*`. The error is a phrase for "expected ...".
 */
export function compilePattern(source: string): Result<Pattern, string> {
  if (source.length > MATCH_CHARS) return err(`a pattern of at most ${MATCH_CHARS} characters`);
  let expression: RegExp;
  try {
    expression = new RegExp(`^(?:${source})$`, "su");
  } catch (error) {
    return err(`a regular expression (${(error as Error).message.replace(/^Invalid regular expression: /, "")})`);
  }
  const refusal = refused(source);
  if (refusal !== undefined) return err(refusal);
  const groups = new RegExp(`${source}|`, "su").exec("")!.length - 1;
  return ok({
    groups,
    match: (text) => (text.length > MATCH_CHARS ? undefined : (expression.exec(text) ?? undefined)),
  });
}

/** At most this many unbounded repetitions in a pattern: n of them can cost (characters matched)^n steps. */
const REPETITIONS = 3;

function refused(source: string): string | undefined {
  // One entry for each open group: whether something within it repeats, may be missing, or has alternatives.
  const open: boolean[] = [false];
  let repetitions = 0;
  let closed = false; // whether what stands just before is such a group
  for (let i = 0; i < source.length; i++) {
    const repeats = repetitionAt(source, i);
    if (repeats > 0) {
      if (closed)
        return "no repetition of a group that holds a repetition, an option or alternatives, as in (a+)+ or (a|b)*";
      if (++repetitions > REPETITIONS) return `at most ${REPETITIONS} unbounded repetitions (* + {n,}) in a pattern`;
      open[open.length - 1] = true;
      i += repeats - 1;
      if (source[i + 1] === "?") i++; // lazy
      continue;
    }
    closed = false;
    const c = source[i];
    if (c === "\\") {
      if (/[1-9k]/.test(source[i + 1] ?? "")) return "a pattern without back-references";
      i++;
    } else if (c === "[") i = endOfClass(source, i);
    else if (c === "|" || c === "?") open[open.length - 1] = true;
    else if (c === "(") {
      if (/^\(\?<?[=!]/.test(source.slice(i, i + 4))) return "a pattern without look-ahead and look-behind";
      if (source[i + 1] === "?") i++; // (?: and (?<name>: no option
      open.push(false);
    } else if (c === ")") {
      closed = open.pop() ?? false;
      if (closed) open[open.length - 1] = true;
    }
  }
  return undefined;
}

/** Length of the sign for a repetition beyond 16 times at that place, 0 where there is none. */
function repetitionAt(source: string, i: number): number {
  if (source[i] === "*" || source[i] === "+") return 1;
  if (source[i] !== "{") return 0;
  const counted = /^\{\d+(,(\d*))?\}/.exec(source.slice(i, i + 16));
  if (counted === null) return 0;
  const most =
    counted[2] === undefined
      ? Number.parseInt(counted[0].slice(1), 10)
      : counted[2] === ""
        ? Infinity
        : Number(counted[2]);
  return most > 16 ? counted[0].length : 0;
}

function endOfClass(source: string, start: number): number {
  for (let i = start + 1; i < source.length; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === "]") return i;
  }
  return source.length;
}
