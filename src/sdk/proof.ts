import { errors, type JSONWebKeySet, type JWTVerifyGetKey, jwtVerify } from "jose";
import { type Passport, parseIdentity, passportName, readPassport } from "../sip/passport.ts";
import { sipUriOf } from "../sip/uri.ts";
import { systemClock } from "../support/clock.ts";
import { keySet } from "./key-set.ts";

/** Whose signature proves who a user is, and how old it may be. */
export interface ProofOptions {
  /**
   * The relay's key set: its URL (`https://portal.example:8443/.well-known/jwks.json`), or the set itself. It is
   * fetched when it is first needed and again when an unknown key signs.
   */
  readonly keys: string | JSONWebKeySet;
  /**
   * This app server's URI as the relay's list names it: a token must be meant for it. In `serve`, default: its own
   * `uri`.
   */
  readonly self?: string;
  /** How old a token may be, in seconds (RFC 8224 §6.2, step 4). Default 60. */
  readonly maxAgeS?: number;
  /** Tokens remembered against replay; over it 503. Default 100,000. */
  readonly maxRemembered?: number;
  /**
   * Milliseconds since 1970, which how old a token is goes by: the relay writes the time of day into it (RFC 8225
   * §5.1.1).
   */
  readonly now?: () => number;
  /**
   * Milliseconds of a clock that nobody can set, which replays are remembered by; default: the process's, or `now`
   * where that is given.
   */
  readonly monotonic?: () => number;
}

/** What of an INVITE is looked at. */
export interface ProvenRequest {
  /** The URI in its To, without parameters of the header field. */
  readonly to: string;
  /** Every Identity header. */
  readonly identities: readonly string[];
}

/**
 * Who called, `sip:alice@portal.example`, proven by the relay; or the answer to give (RFC 8224 §6.2.2): 403, 428, 436,
 * 437, 438 or 503.
 */
export type ProofResult =
  | { readonly ok: true; readonly user: string }
  | { readonly ok: false; readonly status: number; readonly reason: string };

/** Resolves with who called, or with the answer to give; never rejects. */
export type ProofCheck = (request: ProvenRequest) => Promise<ProofResult>;

/**
 * The verification service of RFC 8224 §6.2 for an app server on any SIP stack (`serve` has its own, `proof`): refuses
 * whoever did not come through the relay, a token that was meant for another app server, an old one, and one that was
 * seen before. `self` is the app server's URI as the relay's list has it.
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
    // Several keys, as while one takes over from another: any of them may be it.
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
 * RFC 8224 §6.2.2: 436 where the keys cannot be had, 437 where it was signed by one that is not the relay's, else 438.
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

/** Tokens of the last while. Two generations: what is older than both is forgotten with one assignment. */
class Seen {
  private readonly keptMs: number;
  private readonly max: number;
  private young = new Set<string>();
  private old = new Set<string>();
  private turnedAt = Number.NEGATIVE_INFINITY;

  constructor(maxAgeMs: number, max: number) {
    this.keptMs = 2 * maxAgeMs; // one from a clock that is ahead is good for so long
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

  /** False: it was here before. */
  add(id: string): boolean {
    if (this.young.has(id) || this.old.has(id)) return false;
    this.young.add(id);
    return true;
  }
}
