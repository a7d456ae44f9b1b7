import { err, ok, type Result } from "./result.ts";

export const JSON_TOO_DEEP = "JSON Body Too Deep";
export const NOT_JSON = "Body Is Not JSON";

/** Reads JSON from the network. Deeper nesting than `depth` is refused: whoever walks through the value later does so call by call. The error is a reason. */
export function readJson(text: string, depth: number): Result<unknown, string> {
  if (isDeeper(text, depth)) return err(JSON_TOO_DEEP);
  try {
    return ok(JSON.parse(text));
  } catch {
    return err(NOT_JSON);
  }
}

function isDeeper(json: string, most: number): boolean {
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
