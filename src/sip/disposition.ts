import { err, ok, type Result } from "../support/result.ts";
import { tokenList } from "./params.ts";

/**
 * How a caller would like its request to be handled (RFC 3841 §9.1). Each kind has two directives: one is true here,
 * the other false. A missing field means no wish.
 */
export interface RequestDisposition {
  /** `proxy`, or `redirect`. */
  readonly proxy?: boolean;
  /** `cancel` the other branches after a 2xx, or `no-cancel`. */
  readonly cancel?: boolean;
  /** `fork`, or `no-fork`: a single address. */
  readonly fork?: boolean;
  readonly recurse?: boolean;
  /** `parallel`, or `sequential`. */
  readonly parallel?: boolean;
  readonly queue?: boolean;
}

type Kind = keyof RequestDisposition;

const DIRECTIVES = new Map<string, readonly [kind: Kind, value: boolean]>([
  ["proxy", ["proxy", true]],
  ["redirect", ["proxy", false]],
  ["cancel", ["cancel", true]],
  ["no-cancel", ["cancel", false]],
  ["fork", ["fork", true]],
  ["no-fork", ["fork", false]],
  ["recurse", ["recurse", true]],
  ["no-recurse", ["recurse", false]],
  ["parallel", ["parallel", true]],
  ["sequential", ["parallel", false]],
  ["queue", ["queue", true]],
  ["no-queue", ["queue", false]],
]);

/**
 * Reads the lines of Request-Disposition (RFC 3841 §9.1, §10). Two directives of one kind are an error, and so is an
 * unknown directive: the set is closed.
 */
export function parseRequestDisposition(lines: readonly string[]): Result<RequestDisposition, string> {
  const wish: { -readonly [K in Kind]?: boolean } = {};
  for (const token of tokenList(lines)) {
    const directive = DIRECTIVES.get(token.trim().toLowerCase());
    if (!directive || wish[directive[0]] !== undefined) return err("Bad Request-Disposition");
    wish[directive[0]] = directive[1];
  }
  return ok(wish);
}
