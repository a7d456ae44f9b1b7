import { randomFillSync } from "node:crypto";

/** The one source of random identifiers (decision 15): tags, branches, Call-IDs, session ids. */
export interface Random {
  /**
   * A fresh token of `[0-9a-z]` characters carrying at least `bits` of entropy (RFC 3261 §19.3 asks at least 32 for a
   * tag).
   */
  token(bits?: number): string;
}

const POOL_BYTES = 4096;
const pool = Buffer.allocUnsafe(POOL_BYTES);
let used = POOL_BYTES;

/** Cryptographic tokens. They come from a pool, so the system is asked only once for some hundreds of tokens. */
export const systemRandom: Random = {
  token(bits = 96) {
    const bytes = Math.ceil(bits / 8);
    if (used + bytes > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const token = pool.toString("hex", used, used + bytes);
    used += bytes;
    return token;
  },
};

/** Enough until the year 5188. */
const TIME_CHARACTERS = 9;
let lastMs = -1;
let lastTime = "";

/** The beginning of all ids made in this millisecond. Ids made before sort before it. */
export const timePrefix = (nowMs: number): string =>
  Math.max(0, Math.trunc(nowMs)).toString(36).padStart(TIME_CHARACTERS, "0");

/**
 * A fresh id of `[0-9a-z]` characters: the milliseconds, then `between`, then 80 random bits. It sorts by time, so
 * records that are made together lie together in a store's trees. With fully random ids, each record would touch a page
 * of its own.
 */
export function timeOrderedId(nowMs: number, random: Random, between = ""): string {
  if (nowMs !== lastMs) {
    lastMs = nowMs;
    lastTime = timePrefix(nowMs);
  }
  return lastTime + between + random.token(80);
}
