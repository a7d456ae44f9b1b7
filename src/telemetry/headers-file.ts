import { readFileSync } from "node:fs";

/** A line each: `name: value`. Throws if the file cannot be read, or has a line of another form. */
export function headersIn(path: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [i, line] of readFileSync(path, "utf8").split(/\r?\n/).entries()) {
    if (/^\s*(#|$)/.test(line)) continue;
    const [, name, value] = /^\s*([!#$%&'*+.^_`|~\w-]+)\s*:\s*([\x20-\x7e]+?)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) throw new Error(`${path}, line ${i + 1}: expected "name: value"`);
    headers[name.toLowerCase()] = value;
  }
  return headers;
}
