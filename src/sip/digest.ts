import * as crypto from "node:crypto";
import { err, ok, type Result } from "../support/result.ts";
import { parseAuthParams, quote } from "./headers.ts";

/*
 * HTTP Digest as SIP uses it (RFC 3261 §22, RFC 7616, RFC 8760): the arithmetic and the header fields. Who may sign in, and which nonces are
 * good, is decided in src/directory/authenticator.ts.
 */

export type Algorithm = "sha-256" | "md5";

/** As the algorithms are written on the wire (RFC 8760 §2.1). */
const WIRE_NAMES: Record<Algorithm, string> = { "sha-256": "SHA-256", md5: "MD5" };
const HASHES: Record<Algorithm, string> = { "sha-256": "sha256", md5: "md5" };

type OneShot = (algorithm: string, data: Buffer, encoding: "hex") => string;
// crypto.hash is new in Node 20.12: three times as fast for short texts.
const oneShot = (crypto as { hash?: OneShot }).hash;

/** Hex of the hash of text that is held as latin1, one character for each octet. */
function hash(algorithm: Algorithm, latin1: string): string {
  const bytes = Buffer.from(latin1, "latin1");
  return oneShot
    ? oneShot(HASHES[algorithm], bytes, "hex")
    : crypto.createHash(HASHES[algorithm]).update(bytes).digest("hex");
}

/** H(user:realm:password), RFC 7616 §3.4.2: what is kept in place of a password. Text as people write it, hashed as UTF-8. */
export function ha1(algorithm: Algorithm, user: string, realm: string, password: string): string {
  return hash(algorithm, Buffer.from(`${user}:${realm}:${password}`, "utf8").toString("latin1"));
}

export interface DigestInput {
  readonly algorithm: Algorithm;
  readonly ha1: string;
  readonly method: string;
  readonly uri: string;
  readonly nonce: string;
  /** With qop: `auth`, and nc and cnonce as sent. Without: the form of RFC 2069. */
  readonly qop?: string;
  readonly nc?: string;
  readonly cnonce?: string;
}

/** The response value (RFC 7616 §3.4.1), in lower-case hex. */
export function digestResponse(input: DigestInput): string {
  const { algorithm, nonce } = input;
  const ha2 = hash(algorithm, `${input.method}:${input.uri}`);
  return input.qop === undefined
    ? hash(algorithm, `${input.ha1}:${nonce}:${ha2}`)
    : hash(algorithm, `${input.ha1}:${nonce}:${input.nc ?? ""}:${input.cnonce ?? ""}:${input.qop}:${ha2}`);
}

export interface Challenge {
  readonly realm: string;
  readonly nonce: string;
  readonly algorithm: Algorithm;
  readonly stale?: boolean;
}

/** The value of a WWW-Authenticate (RFC 7616 §3.3). */
export function formatChallenge({ realm, nonce, algorithm, stale }: Challenge): string {
  const text = `Digest realm=${quote(realm)}, nonce="${nonce}", algorithm=${WIRE_NAMES[algorithm]}, qop="auth"`;
  return stale ? `${text}, stale=true` : text;
}

/** Reads a WWW-Authenticate; an algorithm that is not known is an error, so that the next challenge is tried (RFC 8760 §2.4). */
export function parseChallenge(
  value: string,
): Result<Challenge & { readonly qop: readonly string[]; readonly opaque?: string }, string> {
  const read = parseAuthParams(value);
  if (!read.ok) return read;
  const { scheme, params } = read.value;
  if (scheme.toLowerCase() !== "digest") return err(`scheme ${scheme} is not known`);
  const realm = params.get("realm");
  const nonce = params.get("nonce");
  const algorithm = (params.get("algorithm") ?? "md5").toLowerCase();
  if (realm === undefined || nonce === undefined) return err("challenge has no realm or no nonce");
  if (algorithm !== "sha-256" && algorithm !== "md5") return err(`algorithm ${algorithm} is not known`);
  const qop = (params.get("qop") ?? "")
    .split(",")
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "");
  const opaque = params.get("opaque");
  const stale = params.get("stale")?.toLowerCase() === "true";
  return ok({ realm, nonce, algorithm, stale, qop, ...(opaque !== undefined && { opaque }) });
}

/** The credentials of an Authorization. */
export interface Authorization {
  readonly username: string;
  readonly realm: string;
  readonly nonce: string;
  readonly uri: string;
  readonly response: string;
  readonly algorithm?: string;
  readonly qop?: string;
  readonly nc?: string;
  readonly cnonce?: string;
  readonly opaque?: string;
}

const NEEDED = ["username", "realm", "nonce", "uri", "response"] as const;
const OPTIONAL = ["algorithm", "qop", "nc", "cnonce", "opaque"] as const;

/** Reads an Authorization (RFC 7616 §3.4). Schemes other than Digest are an error. */
export function parseAuthorization(value: string): Result<Authorization, string> {
  const read = parseAuthParams(value);
  if (!read.ok) return read;
  const { scheme, params } = read.value;
  if (scheme.toLowerCase() !== "digest") return err(`scheme ${scheme} is not known`);
  const authorization: Record<string, string> = {};
  for (const name of NEEDED) {
    const found = params.get(name);
    if (found === undefined) return err(`credentials have no ${name}`);
    authorization[name] = found;
  }
  for (const name of OPTIONAL) {
    const found = params.get(name);
    if (found !== undefined) authorization[name] = found;
  }
  return ok(authorization as unknown as Authorization);
}
