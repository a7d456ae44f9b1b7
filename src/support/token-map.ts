import { HashTable } from "./hash-table.ts";

/**
 * How many of the last characters count: of 32 bits, and so of more places than there is memory for, where they are
 * hexadecimal.
 */
const COUNTED = 5;

/**
 * A map from tokens that the relay itself drew to what they stand for: branches, tags, ids of sessions. It knows that
 * their last characters are random, so no hash has to be worked out over the whole of them. Not for keys that others
 * choose: they could choose them to collide.
 */
export class TokenMap<T> extends HashTable<T> {
  protected hashOf(token: string): number {
    let hash = 0;
    for (let i = token.length - 1, end = Math.max(0, token.length - COUNTED); i >= end; i--) {
      const character = token.charCodeAt(i);
      hash = (hash << 4) + (character & 15) + 9 * (character >> 6); // the digit, where it is hexadecimal
    }
    return hash;
  }
}
