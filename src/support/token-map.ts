/** Slots of an empty map, and of the smallest that one shrinks to. A power of two. */
const SMALLEST = 64;

/**
 * A map from tokens that the relay itself drew to what they stand for: branches, tags, ids of sessions, of which thousands come and go in a
 * second. It knows that their last characters are random, so no hash has to be worked out over the whole of them. And it forgets for
 * good: each time a `Map` has filled up it makes a new table, and leaves behind the old one, with all that lived then, chained to the new.
 * Once one of these tables has got old, every later one survives, and all in them, until the garbage collector walks through all memory;
 * half of what a call leaves behind for that walk was such tables. Not for keys that others choose: they could choose them to collide.
 *
 * Open addressing with linear probing; what is deleted is filled up from behind. In no order.
 */
export class TokenMap<T> {
  /** Undefined: a free slot. */
  private keys: (string | undefined)[] = [];
  private held: (T | undefined)[] = [];
  private mask = 0;
  private count = 0;

  constructor() {
    this.clear();
  }

  get size(): number {
    return this.count;
  }

  get(key: string): T | undefined {
    return this.held[this.slotOf(key)];
  }

  has(key: string): boolean {
    return this.keys[this.slotOf(key)] !== undefined;
  }

  set(key: string, value: T): void {
    let slot = this.slotOf(key);
    if (this.keys[slot] === undefined) {
      // Two thirds full at most: chains stay short.
      if (++this.count * 3 > this.keys.length * 2) {
        this.resize(this.keys.length * 2);
        slot = this.slotOf(key);
      }
      this.keys[slot] = key;
    }
    this.held[slot] = value;
  }

  /** True if it was there. */
  delete(key: string): boolean {
    const { keys, held, mask } = this;
    let gap = this.slotOf(key);
    if (keys[gap] === undefined) return false;
    // Whoever stands behind the gap only because its own slot was taken moves up, or would be found no more.
    for (let slot = (gap + 1) & mask; keys[slot] !== undefined; slot = (slot + 1) & mask) {
      const home = hashOf(keys[slot]!) & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      keys[gap] = keys[slot];
      held[gap] = held[slot];
      gap = slot;
    }
    keys[gap] = undefined;
    held[gap] = undefined;
    if (--this.count * 12 < keys.length && keys.length > SMALLEST) this.resize(keys.length / 4);
    return true;
  }

  clear(): void {
    this.count = 0;
    this.keys = new Array(SMALLEST).fill(undefined);
    this.held = new Array(SMALLEST).fill(undefined);
    this.mask = SMALLEST - 1;
  }

  /** All of them as they are now. */
  values(): T[] {
    return this.held.filter((_, slot) => this.keys[slot] !== undefined) as T[];
  }

  /** Where the key stands, or the free slot where it would. */
  private slotOf(key: string): number {
    const { keys, mask } = this;
    let slot = hashOf(key) & mask;
    for (let there = keys[slot]; there !== undefined && there !== key; there = keys[slot]) slot = (slot + 1) & mask;
    return slot;
  }

  private resize(slots: number): void {
    const { keys, held } = this;
    this.keys = new Array(Math.max(slots, SMALLEST)).fill(undefined);
    this.held = new Array(this.keys.length).fill(undefined);
    this.mask = this.keys.length - 1;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i];
      if (key === undefined) continue;
      const slot = this.slotOf(key);
      this.keys[slot] = key;
      this.held[slot] = held[i];
    }
  }
}

/** How many of the last characters count: of 32 bits, and so of more places than there is memory for, where they are hexadecimal. */
const COUNTED = 5;

function hashOf(token: string): number {
  let hash = 0;
  for (let i = token.length - 1, end = Math.max(0, token.length - COUNTED); i >= end; i--) {
    const character = token.charCodeAt(i);
    hash = (hash << 4) + (character & 15) + 9 * (character >> 6); // the digit, where it is hexadecimal
  }
  return hash;
}
