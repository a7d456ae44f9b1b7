import { randomFillSync } from "node:crypto";
import { HashTable } from "./hash-table.ts";

/** How many places of a text have a multiplier of their own. A power of two. */
const MULTIPLIERS = 64;

/**
 * A map with keys that others choose, such as branches and Call-IDs. The hash is the sum of the characters, each
 * multiplied by a secret random number for its place. Without these numbers nobody can choose texts that collide
 * (multilinear hashing is universal).
 */
export class WireMap<T> extends HashTable<T> {
  private readonly multipliers = randomFillSync(new Int32Array(MULTIPLIERS));

  protected hashOf(text: string): number {
    const { multipliers } = this;
    const { length } = text;
    let hash = length;
    for (let i = 0; i < length; i++) {
      const place = i & (MULTIPLIERS - 1);
      // A long text has several stretches of this length: the hash so far is mixed into the next stretch.
      if (place === 0) hash = Math.imul(hash ^ (hash >>> 15), multipliers[0]! | 1);
      hash = (hash + Math.imul(multipliers[place]!, text.charCodeAt(i))) | 0;
    }
    // Mixes the upper bits into the lower ones. The lower bits alone would be equal for characters that differ only in
    // their upper bits.
    hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
    return hash ^ (hash >>> 16);
  }
}
