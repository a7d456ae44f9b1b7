import { randomFillSync } from "node:crypto";
import { HashTable } from "./hash-table.ts";

/** So many characters have a multiplier of their own. A power of two. */
const MULTIPLIERS = 64;

/**
 * A map from texts that others chose, such as branches and Call-IDs. Its hash is the sum of the characters, each
 * times a secret random number of its place: whoever does not know the numbers cannot choose texts that collide
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
      // Of a long text each stretch is mixed into the next.
      if (place === 0) hash = Math.imul(hash ^ (hash >>> 15), multipliers[0]! | 1);
      hash = (hash + Math.imul(multipliers[place]!, text.charCodeAt(i))) | 0;
    }
    // The upper bits are the good ones: all else is the same for characters that differ in their upper bits alone.
    hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b);
    return hash ^ (hash >>> 16);
  }
}
