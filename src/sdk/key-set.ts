import { createLocalJWKSet, createRemoteJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";

/** A key set older than this is fetched again, so that keys which the relay has given up stop being accepted. */
const MAX_AGE_MS = 600_000;
/** Least time between two fetches because of an unknown key: anybody can make tokens signed by one. */
const COOLDOWN_MS = 10_000;
const TIMEOUT_MS = 5_000;

/**
 * The keys that tokens are checked with: the set itself, or the set at a URL. That one is fetched when it is first
 * needed, when it is old, and when a token is signed by an unknown key. `monotonic` gives the milliseconds of a clock
 * that nobody can set. We measure ages with it, because `jose` goes by the time of day.
 */
export function keySet(keys: string | JSONWebKeySet, monotonic: () => number): JWTVerifyGetKey {
  if (typeof keys !== "string") return createLocalJWKSet(keys);
  const never = Number.POSITIVE_INFINITY;
  const options = { timeoutDuration: TIMEOUT_MS, cooldownDuration: never, cacheMaxAge: never };
  const remote = createRemoteJWKSet(new URL(keys), options);
  let fetchedAt = Number.NEGATIVE_INFINITY;
  const fetch = async () => {
    await remote.reload();
    fetchedAt = monotonic();
  };
  return async (header, token) => {
    if (monotonic() - fetchedAt >= MAX_AGE_MS) await fetch();
    try {
      return await remote(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || monotonic() - fetchedAt < COOLDOWN_MS) throw error;
      await fetch();
      return remote(header, token);
    }
  };
}
