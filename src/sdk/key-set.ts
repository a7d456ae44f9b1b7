import { createLocalJWKSet, createRemoteJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";

/** After so long a key set is fetched again, so that a key which the relay has given up is no longer good. */
const MAX_AGE_MS = 600_000;
/** And no more often than this for tokens that are signed by a key which is not in it: anybody can make such. */
const COOLDOWN_MS = 10_000;
const TIMEOUT_MS = 5_000;

/**
 * The keys that tokens are checked with: the set itself, or what is at a URL. It is fetched when it is first needed,
 * when it is old, and when an unknown key signs. `monotonic`: milliseconds of a clock that nobody can set, since `jose`
 * itself goes by the time of day.
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
