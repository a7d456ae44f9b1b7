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

/** Cryptographic tokens, drawn from a pool so that the system is asked once in some hundreds of tokens. */
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

/** As many as the year 5188 takes. */
const TIME_CHARACTERS = 9;
let lastMs = -1;
let lastTime = "";

/** What ids begin with that are made at this moment: those made before sort before it. */
export const timePrefix = (nowMs: number): string =>
  Math.max(0, Math.trunc(nowMs)).toString(36).padStart(TIME_CHARACTERS, "0");

/**
 * A fresh id of `[0-9a-z]` characters that sorts by when it was made, with 80 random bits behind the milliseconds:
 * records of things that happen together lie together in a store's trees, where ids that are random through and
 * through would each need a page of their own. `between` stands between the two.
 */
export function timeOrderedId(nowMs: number, random: Random, between = ""): string {
  if (nowMs !== lastMs) {
    lastMs = nowMs;
    lastTime = timePrefix(nowMs);
  }
  return lastTime + between + random.token(80);
}
