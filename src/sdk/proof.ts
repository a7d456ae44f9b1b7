import { errors, type JSONWebKeySet, type JWTVerifyGetKey, jwtVerify } from "jose";
import { type Passport, parseIdentity, passportName, readPassport } from "../sip/passport.ts";
import { sipUriOf } from "../sip/uri.ts";
import { systemClock } from "../support/clock.ts";
import { keySet } from "./key-set.ts";

/** Whose signature is accepted as proof of the user, and how old it may be. */
export interface ProofOptions {
  /**
   * The relay's key set: its URL (`https://portal.example:8443/.well-known/jwks.json`), or the set itself. What is at
   * the URL is fetched when it is first needed, when it is older than 10 minutes, and when a token is signed by an
   * unknown key.
   */
  readonly keys: string | JSONWebKeySet;
  /**
   * This app server's URI, as in the relay's list of app servers: a token must be meant for it. Default in `serve`: the
   * server's own `uri`.
   */
  readonly self?: string;
  /** How old a token may be, in seconds (RFC 8224 §6.2, step 4). Default 60. */
  readonly maxAgeS?: number;
  /** How many tokens are remembered, to detect replays. Beyond that, the answer is 503. Default 100,000. */
  readonly maxRemembered?: number;
  /**
   * Gives the milliseconds since 1970, to tell a token's age: the relay writes the time of day into a token (RFC 8225
   * §5.1.1).
   */
  readonly now?: () => number;
  /**
   * Gives the milliseconds of a clock that nobody can set, to tell how long tokens are remembered. Default: the
   * process's clock, or `now` where that is given.
   */
  readonly monotonic?: () => number;
}

/** The parts of an INVITE that are checked. */
export interface ProvenRequest {
  /** The URI in its To, without parameters of the header field. */
  readonly to: string;
  /** Every Identity header. */
  readonly identities: readonly string[];
}

/**
 * Who called, `sip:alice@portal.example`, as the relay has proven it. Or else the answer to give (RFC 8224 §6.2.2):
 * 403, 428, 436, 437, 438 or 503.
 */
export type ProofResult =
  | { readonly ok: true; readonly user: string }
  | { readonly ok: false; readonly status: number; readonly reason: string };

/** Resolves with who called, or with the answer to give; never rejects. */
export type ProofCheck = (request: ProvenRequest) => Promise<ProofResult>;

/**
 * The verification service of RFC 8224 §6.2, for an app server on any SIP stack; `serve` does this by itself, see its
 * option `proof`. It refuses a request that did not come through the relay, and a token that was meant for another app
 * server, is too old, or was seen before. `self` is the app server's URI, as in the relay's list of app servers.
 */
export function createProofCheck(options: ProofOptions & { readonly self: string }): ProofCheck {
  const { maxAgeS = 60, maxRemembered = 100_000, now = systemClock.wall } = options;
  const { monotonic = options.now ?? systemClock.monotonic } = options;
  const keys = keySet(options.keys, monotonic);
  const seen = new Seen(maxAgeS * 1000, maxRemembered);
  return async ({ to, identities }) => {
    let failure = refused(428, "Use Identity Header");
    for (const value of identities.slice(0, MAX_IDENTITIES)) {
      const identity = parseIdentity(value);
      if (!identity.ok) {
        failure = refused(438, "Invalid Identity Header");
        continue;
      }
      if (identity.value.ppt !== undefined) continue; // RFC 8224 §6.2, step 1
      const verified = await verify(identity.value.token, keys);
      if (!verified.ok) {
        failure = verified;
        continue;
      }
      const { passport } = verified;
      const ageS = now() / 1000 - passport.iat;
      if (Math.abs(ageS) > maxAgeS) failure = refused(403, "Stale Date");
      else if (!meant(passport, options.self) || !meant(passport, to))
        failure = refused(438, "Invalid Identity Header");
      else if (!seen.room(monotonic())) failure = refused(503, "Service Unavailable");
      else if (!seen.add(passport.jti)) failure = refused(403, "Replayed Identity");
      else return { ok: true, user: "uri" in passport.orig ? passport.orig.uri : passport.orig.tn };
    }
    return failure;
  };
}

const MAX_IDENTITIES = 4;
const refused = (status: number, reason: string): ProofResult & { ok: false } => ({ ok: false, status, reason });

type Verified = { readonly ok: true; readonly passport: Passport } | (ProofResult & { ok: false });

async function verify(token: string, keys: JWTVerifyGetKey): Promise<Verified> {
  const options = { algorithms: ["ES256"], typ: "passport" };
  let payload: unknown;
  try {
    payload = (await jwtVerify(token, keys, options)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return refusalFor(error);
    // Several keys fit, as while a new key takes over from an old one: each is tried.
    for await (const key of error) {
      payload ??= await jwtVerify(token, key, options).then(
        (result) => result.payload,
        () => undefined,
      );
    }
  }
  const passport = readPassport(payload);
  return passport.ok ? { ok: true, passport: passport.value } : refused(438, "Invalid PASSporT");
}

/**
 * RFC 8224 §6.2.2: 436 where the keys cannot be fetched, 437 where the token was signed by a key that is not the
 * relay's, else 438.
 */
function refusalFor(error: unknown): ProofResult & { ok: false } {
  if (error instanceof errors.JWKSNoMatchingKey) return refused(437, "Unsupported Credential");
  const signature = error instanceof errors.JOSEError && !(error instanceof errors.JWKSTimeout);
  if (signature && error.code !== "ERR_JOSE_GENERIC" && !(error instanceof errors.JWKSInvalid))
    return refused(438, "Invalid Identity Header");
  return refused(436, "Bad Identity Info");
}

function meant({ dest }: Passport, uriText: string): boolean {
  const uri = sipUriOf(uriText);
  const name = uri && passportName(uri);
  if (!name) return false;
  return "uri" in name ? (dest.uri?.includes(name.uri) ?? false) : (dest.tn?.includes(name.tn) ?? false);
}

/**
 * The tokens seen lately, in two generations. Each time a new generation begins, the older one is forgotten as a whole.
 */
class Seen {
  private readonly keptMs: number;
  private readonly max: number;
  private young = new Set<string>();
  private old = new Set<string>();
  private turnedAt = Number.NEGATIVE_INFINITY;

  constructor(maxAgeMs: number, max: number) {
    this.keptMs = 2 * maxAgeMs; // a token from a clock that is ahead is accepted for so long
    this.max = max;
  }

  room(now: number): boolean {
    if (now - this.turnedAt >= this.keptMs) {
      this.old = now - this.turnedAt >= 2 * this.keptMs ? new Set() : this.young;
      this.young = new Set();
      this.turnedAt = now;
    }
    return this.young.size + this.old.size < this.max;
  }

  /** False: the token was seen before. */
  add(id: string): boolean {
    if (this.young.has(id) || this.old.has(id)) return false;
    this.young.add(id);
    return true;
  }
}
