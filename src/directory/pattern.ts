import { RE2JS } from "re2js";
import { err, ok, type Result } from "../support/result.ts";

/** The longest pattern, and the longest text from the network that is matched. A longer text matches nothing. */
export const MATCH_CHARS = 1024;

/**
 * Whether a text is too long to be matched. Code that decides by a pattern must refuse such a text, since nobody knows
 * what it would match.
 */
export const isTooLong = (text: string): boolean => text.length > MATCH_CHARS;

/** A compiled pattern of a rule: the operator wrote the pattern, a stranger wrote the text. */
export interface Pattern {
  /** Whether the text matches as a whole. */
  test(text: string): boolean;
  /** Groups, the whole match first; undefined if the text does not match as a whole or is too long. */
  match(text: string): readonly (string | undefined)[] | undefined;
  readonly groups: number;
}

/**
 * The largest compiled pattern. A match takes time in proportion to the length of the text and to this size. Counted
 * repetitions multiply the size: `a{3}` is three. So even the worst pattern costs only some 50 ms for the longest text.
 */
const MOST_INSTRUCTIONS = 500;

/**
 * Compiles a regular expression that is anchored at both ends, in the syntax of RE2
 * (https://github.com/google/re2/wiki/Syntax), which is JavaScript's without look-around and back-references. RE2 needs
 * time that is linear in the text, whatever the pattern is. A backtracking matcher may take hours. The error is a
 * phrase for "expected ...".
 */
export function compilePattern(source: string): Result<Pattern, string> {
  if (source.length > MATCH_CHARS) return err(`a pattern of at most ${MATCH_CHARS} characters`);
  if (LITERAL.test(source)) return ok(literal(source));
  let expression: RE2JS;
  try {
    expression = RE2JS.compile(source, RE2JS.DOTALL);
  } catch (error) {
    return err(refusal(source, (error as Error).message));
  }
  if (expression.programSize() > MOST_INSTRUCTIONS)
    return err("a pattern of less size: counted repetitions such as {50} count as often as they say, and multiply");
  const groups = expression.groupCount();
  // Nearly all texts do not match. To know that costs a fraction of finding the groups, so it is tested first.
  const test = (text: string) => !isTooLong(text) && expression.matches(text);
  return ok({ groups, test, match: (text) => (test(text) ? groupsOf(expression, text, groups) : undefined) });
}

/** A pattern without operators (points and slashes may be escaped). Its text is compared, without RE2. */
const LITERAL = /^(?:[A-Za-z0-9:@_ /=;,<>"'&%!~-]|\\[./])*$/;

function literal(source: string): Pattern {
  const text = source.replaceAll("\\", "");
  const groups = [text];
  return { groups: 0, test: (found) => found === text, match: (found) => (found === text ? groups : undefined) };
}

function groupsOf(expression: RE2JS, text: string, groups: number): readonly (string | undefined)[] | undefined {
  if (groups === 0) return [text];
  const matcher = expression.matcher(text);
  if (!matcher.matches()) return undefined;
  return Array.from({ length: groups + 1 }, (_, group) => matcher.group(group) ?? undefined);
}

/** What is wrong with a pattern that RE2 refuses, as a phrase for "expected ...". */
function refusal(source: string, message: string): string {
  if (/\(\?<?[=!]/.test(message)) return "a pattern without look-ahead and look-behind, which RE2 does not have";
  if (/\\[1-9k]`$/.test(message)) return "a pattern without back-references, which RE2 does not have";
  if (/\(\?>|nested repetition/.test(message))
    return "a pattern without atomic groups and possessive repetitions, which RE2 does not have";
  try {
    new RegExp(`^(?:${source})$`, "su");
  } catch (error) {
    // JavaScript refuses it too, and says in plainer words what is wrong.
    return `a regular expression (${(error as Error).message.replace(/^Invalid regular expression: /, "")})`;
  }
  return `a regular expression of RE2 (${message.replace(/^error parsing regexp: /, "")})`;
}
