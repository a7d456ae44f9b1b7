import { err, ok, type Result } from "./result.ts";

export const JSON_TOO_DEEP = "JSON Body Too Deep";
export const NOT_JSON = "Body Is Not JSON";
export const JSON_TWICE = "JSON Body Has A Name Twice";

/**
 * Reads JSON from the network. Nesting deeper than `depth` is refused, since code that walks through the value later is
 * recursive. A name that stands twice in one object is refused too: some readers take the first, others the last (RFC
 * 8259 §4). The error is a reason.
 */
export function readJson(text: string, depth: number): Result<unknown, string> {
  if (isDeeper(text, depth)) return err(JSON_TOO_DEEP);
  try {
    const value: unknown = JSON.parse(text);
    return hasNameTwice(text) ? err(JSON_TWICE) : ok(value);
  } catch {
    return err(NOT_JSON);
  }
}

const STRING = /"(?:[^"\\]|\\.)*"/y;
const COLON_NEXT = /[ \t\r\n]*:/y;

/** The text must be valid JSON. */
function hasNameTwice(json: string): boolean {
  /** The names so far in each open object; undefined for an open list. */
  const open: (Set<string> | undefined)[] = [];
  for (let i = 0; i < json.length; i++) {
    const c = json.charCodeAt(i);
    if (c === 0x7b) open.push(new Set());
    else if (c === 0x5b) open.push(undefined);
    else if (c === 0x7d || c === 0x5d) open.pop();
    else if (c === 0x22) {
      STRING.lastIndex = i;
      const written = STRING.exec(json)![0];
      i += written.length - 1;
      COLON_NEXT.lastIndex = i + 1;
      if (!COLON_NEXT.test(json)) continue;
      const names = open.at(-1)!;
      const name = written.includes("\\") ? (JSON.parse(written) as string) : written.slice(1, -1);
      if (names.has(name)) return true;
      names.add(name);
    }
  }
  return false;
}

/** Whether objects and lists of a text, which may be no JSON, are nested deeper than that. */
export function isDeeper(json: string, most: number): boolean {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < json.length; i++) {
    const c = json.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c) i++;
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > most) return true;
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
  return false;
}
