import { JSON_TWICE, readJson } from "../../support/json.ts";
import { err, ok, type Result } from "../../support/result.ts";

export const NOT_JSON = "body is not JSON";
const TWICE = "a name stands twice in an object of the body";
/** More levels than any body of charges has. */
const DEPTH = 8;
const ROUNDED = "a number that is not whole must be in quotes: it has no exact value in JSON";

/** Reads a direct report. Only its form is checked, not yet its values. */
export function readDirectJson(text: string): Result<{ session: unknown; charges: unknown[] }, string> {
  const read = readJson(text, DEPTH);
  if (!read.ok) return err(read.error === JSON_TWICE ? TWICE : NOT_JSON);
  const body = read.value;
  if (typeof body !== "object" || body === null || Array.isArray(body))
    return err('body must be an object with "session" and "charges"');
  const { session, ...rest } = body as { session?: unknown };
  if (!Object.hasOwn(rest, "charges")) return err('"charges" is missing');
  const list = listIn(rest);
  if (!list.ok) return list;
  return roundedNumber(text) ? err(ROUNDED) : ok({ session, charges: list.value });
}

/** Reads the charges in a JSON body, which are not checked yet: a list under `charges`, a list, or a single charge. */
export function readChargeJson(text: string): Result<unknown[], string> {
  const read = readJson(text, DEPTH);
  if (!read.ok) return err(read.error === JSON_TWICE ? TWICE : NOT_JSON);
  const body = read.value;
  if (typeof body !== "object" || body === null) return err('body must be an object with "charges", or one charge');
  const list = listIn(body);
  if (!list.ok) return list;
  return roundedNumber(text) ? err(ROUNDED) : list;
}

function listIn(body: object): Result<unknown[], string> {
  if (Array.isArray(body)) return ok(body);
  if (!Object.hasOwn(body, "charges")) return ok([body]);
  const { charges, ...others } = body as { charges: unknown };
  for (const name of Object.keys(others))
    return err(`there is no field ${JSON.stringify(name.slice(0, 40))} beside "charges"`);
  return Array.isArray(charges) ? ok(charges) : err('"charges" must be a list');
}

/**
 * `JSON.parse` rounds 2.0000000000000000001 to 2 and does not say so. This looks for numbers that were written with a
 * fraction or exponent and became whole. Numbers that did not become whole are refused later, with their field's name.
 */
function roundedNumber(text: string): boolean {
  const outside = text.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  for (const [number] of outside.matchAll(/-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g)) {
    if (/[.eE]/.test(number) && Number.isInteger(Number(number))) return true;
  }
  return false;
}
