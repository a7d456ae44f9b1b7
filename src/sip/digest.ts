import { hash, timingSafeEqual } from "node:crypto";
import { err, ok, type Result } from "../support/result.ts";
import { parseAuthParams } from "./auth-params.ts";
import { quote } from "./params.ts";
import { decodeUtf8, encodeUtf8, isAscii } from "./text.ts";

/**
 * HTTP Digest as SIP uses it (RFC 3261 §22, RFC 7616, RFC 8760): the arithmetic and the header values, for both
 * sides. Who may sign in, and which nonces are good, is decided in src/directory/authenticator.ts.
 */

export type Algorithm = "sha-256" | "md5";

/** As the algorithms are written on the wire (RFC 8760 §2.1). */
const WIRE_NAMES: Readonly<Record<Algorithm, string>> = { "sha-256": "SHA-256", md5: "MD5" };
const HASHES: Readonly<Record<Algorithm, string>> = { "sha-256": "sha256", md5: "md5" };

/**
 * The algorithm with this name, in upper or lower case. Without a name it is MD5 (RFC 7616 §3.3). Undefined for an
 * unknown name. The `-sess` forms count as unknown: the relay never uses them.
 */
export function algorithmOf(name: string | undefined): Algorithm | undefined {
  const lower = name === undefined ? "md5" : name.toLowerCase();
  return lower === "sha-256" || lower === "md5" ? lower : undefined;
}

/** Lower-case hex of the hash of a text that holds one character for each octet. */
function hashOf(algorithm: Algorithm, text: string): string {
  return hash(HASHES[algorithm], isAscii(text) ? text : Buffer.from(text, "latin1"), "hex");
}

/**
 * H(user:realm:password), RFC 7616 §3.4.2. It is kept in place of the password. User, realm and password are given as
 * people write them, and hashed as UTF-8.
 */
export function ha1(algorithm: Algorithm, user: string, realm: string, password: string): string {
  return hash(HASHES[algorithm], `${user}:${realm}:${password}`.normalize("NFC"), "hex"); // RFC 7616 §4
}

export interface DigestInput {
  readonly algorithm: Algorithm;
  readonly ha1: string;
  readonly method: string;
  /** The digest-uri as it stands in the credentials. */
  readonly uri: string;
  readonly nonce: string;
  /**
   * `auth` or `auth-int`. It comes with nc (8 hex digits) and cnonce, as sent. Without qop, the response has the form
   * of RFC 2069.
   */
  readonly qop?: string | undefined;
  readonly nc?: string | undefined;
  readonly cnonce?: string | undefined;
  /** For `auth-int`: the body of the message. */
  readonly body?: Buffer;
}

/** The response value (RFC 7616 §3.4.1), in lower-case hex. */
export function digestResponse(input: DigestInput): string {
  const { algorithm, nonce, qop } = input;
  let a2 = `${input.method}:${input.uri}`;
  // RFC 7616 §3.4.3
  if (qop?.toLowerCase() === "auth-int") a2 += `:${hash(HASHES[algorithm], input.body ?? "", "hex")}`;
  const ha2 = hashOf(algorithm, a2);
  return qop === undefined
    ? hashOf(algorithm, `${input.ha1}:${nonce}:${ha2}`)
    : hashOf(algorithm, `${input.ha1}:${nonce}:${input.nc ?? ""}:${input.cnonce ?? ""}:${qop}:${ha2}`);
}

/** Whether two texts are the same, in a time that does not tell where they differ. */
export function sameSecret(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a, "latin1"), Buffer.from(b, "latin1"));
}

/** A challenge that can be answered (RFC 7616 §3.3). */
export interface Challenge {
  /** As people write it. */
  readonly realm: string;
  /** As it stands between the quotes. */
  readonly nonce: string;
  readonly algorithm: Algorithm;
  /** Only the nonce was wrong, the password was right: the client tries again without asking its user. */
  readonly stale?: boolean;
  readonly opaque?: string;
  /** The qop values offered, lower-case. A challenge written without this field offers `auth`. */
  readonly qop?: readonly string[];
}

// The realm is nearly always the same, so its quoted form is kept.
let lastRealm = "";
let quotedRealm = '""';

/** A value of WWW-Authenticate or Proxy-Authenticate. */
export function formatChallenge({ realm, nonce, algorithm, stale, opaque, qop }: Challenge): string {
  if (realm !== lastRealm) {
    quotedRealm = quote(encodeUtf8(realm));
    lastRealm = realm;
  }
  let text = `Digest realm=${quotedRealm}, nonce="${nonce}", algorithm=${WIRE_NAMES[algorithm]}`;
  if (qop === undefined) text += ', qop="auth"';
  else if (qop.length > 0) text += `, qop="${qop.join(",")}"`;
  if (opaque !== undefined) text += `, opaque=${quote(opaque)}`;
  return stale ? `${text}, stale=true` : text;
}

/**
 * Reads a challenge. An unknown algorithm, also a `-sess` form, is an error: the caller then tries the next challenge
 * (RFC 8760 §2.4).
 */
export function parseChallenge(value: string): Result<Challenge & { readonly qop: readonly string[] }, string> {
  const read = parseAuthParams(value);
  if (!read.ok) return read;
  const { scheme, params } = read.value;
  if (scheme.toLowerCase() !== "digest") return err("Unknown Scheme");
  const realm = params.get("realm");
  const nonce = params.get("nonce");
  const algorithm = algorithmOf(params.get("algorithm"));
  if (realm === undefined || nonce === undefined) return err("Bad Challenge");
  if (algorithm === undefined) return err("Unknown Algorithm");
  const offered = (params.get("qop") ?? "").split(",").map((name) => name.trim().toLowerCase());
  const qop = offered.filter((name) => name !== "");
  const opaque = params.get("opaque");
  const stale = params.get("stale")?.toLowerCase() === "true";
  return ok({ realm: decodeUtf8(realm), nonce, algorithm, stale, qop, ...(opaque !== undefined && { opaque }) });
}

/** The credentials of Authorization or Proxy-Authorization (RFC 7616 §3.4). */
export interface Authorization {
  /** Decoded, as people write it; so is the realm. */
  readonly username: string;
  readonly realm: string;
  readonly nonce: string;
  readonly uri: string;
  readonly response: string;
  /** As written: `algorithmOf` reads it. */
  readonly algorithm?: string;
  readonly qop?: string;
  readonly nc?: string;
  readonly cnonce?: string;
  readonly opaque?: string;
}

const OPTIONAL = ["algorithm", "qop", "nc", "cnonce", "opaque"] as const;

/** Reads credentials. Schemes other than Digest are an error. */
export function parseAuthorization(value: string): Result<Authorization, string> {
  const read = parseAuthParams(value);
  if (!read.ok) return read;
  const { scheme, params } = read.value;
  if (scheme.toLowerCase() !== "digest") return err("Unknown Scheme");
  const username = params.get("username");
  const realm = params.get("realm");
  const nonce = params.get("nonce");
  const uri = params.get("uri");
  const response = params.get("response");
  if (
    username === undefined ||
    realm === undefined ||
    nonce === undefined ||
    uri === undefined ||
    response === undefined
  )
    return err("Bad Credentials");
  const authorization: { -readonly [K in keyof Authorization]: Authorization[K] } = {
    username: decodeUtf8(username),
    realm: decodeUtf8(realm),
    nonce,
    uri,
    response,
  };
  for (const name of OPTIONAL) {
    const given = params.get(name);
    if (given !== undefined) authorization[name] = given;
  }
  return ok(authorization);
}

/** Writes credentials (RFC 7616 §3.4 says which values are quoted). */
export function formatAuthorization(auth: Authorization): string {
  let text = `Digest username=${quote(encodeUtf8(auth.username))}, realm=${quote(encodeUtf8(auth.realm))}`;
  text += `, nonce=${quote(auth.nonce)}, uri=${quote(auth.uri)}, response="${auth.response}"`;
  if (auth.algorithm !== undefined) text += `, algorithm=${auth.algorithm}`;
  if (auth.cnonce !== undefined) text += `, cnonce=${quote(auth.cnonce)}`;
  if (auth.opaque !== undefined) text += `, opaque=${quote(auth.opaque)}`;
  if (auth.qop !== undefined) text += `, qop=${auth.qop}`;
  return auth.nc === undefined ? text : `${text}, nc=${auth.nc}`;
}

export interface Answer {
  readonly username: string;
  readonly password: string;
  readonly method: string;
  /** The Request-URI. */
  readonly uri: string;
  readonly cnonce: string;
  /** How often this nonce was used, this time included. */
  readonly count: number;
}

/**
 * The credentials that answer a challenge, with `qop=auth` where it is offered (RFC 7616 §3.4). The challenge must not
 * offer auth-int alone.
 */
export function answerChallenge(challenge: Challenge, answer: Answer): Authorization {
  const { algorithm, realm, nonce, opaque } = challenge;
  const { username, method, uri, cnonce } = answer;
  const secret = ha1(algorithm, username, realm, answer.password);
  const common = {
    username,
    realm,
    nonce,
    uri,
    algorithm: WIRE_NAMES[algorithm],
    ...(opaque !== undefined && { opaque }),
  };
  if (!challenge.qop?.includes("auth"))
    return { ...common, response: digestResponse({ algorithm, ha1: secret, method, uri, nonce }) };
  const nc = answer.count.toString(16).padStart(8, "0");
  const protectedBy = { qop: "auth", nc, cnonce };
  return {
    ...common,
    ...protectedBy,
    response: digestResponse({ algorithm, ha1: secret, method, uri, nonce, ...protectedBy }),
  };
}
