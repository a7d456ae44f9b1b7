import { HashTable } from "./hash-table.ts";

/**
 * How many of the last characters count for the hash. Of hexadecimal characters they give 20 bits, about a million
 * values.
 */
const COUNTED = 5;

/**
 * A map with keys that the relay itself has drawn: branches, tags, ids of sessions. Their last characters are random,
 * so the hash needs only those. Not for keys that others choose: they could choose keys that collide.
 */
export class TokenMap<T> extends HashTable<T> {
  protected hashOf(token: string): number {
    let hash = 0;
    for (let i = token.length - 1, end = Math.max(0, token.length - COUNTED); i >= end; i--) {
      const character = token.charCodeAt(i);
      hash = (hash << 4) + (character & 15) + 9 * (character >> 6); // the value of a hexadecimal digit
    }
    return hash;
  }
}
