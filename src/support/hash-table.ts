/** Slots of an empty table, and of the smallest that one shrinks to. A power of two. */
const SMALLEST = 64;

/**
 * A map from texts, of which thousands come and go in a second. A `Map` makes a new table each time it has filled up,
 * and leaves behind the old one, with all that lived then, chained to the new: once one of these tables has got old,
 * every later one survives, and all in them, until the garbage collector walks through all memory; half of what a
 * call leaves behind for that walk was such tables. This one forgets for good.
 *
 * Open addressing with linear probing; what is deleted is filled up from behind. The hashes lie apart, so that to
 * find that a key is not there, which is what most lookups find, looks at them alone. In no order.
 */
export abstract class HashTable<T> {
  /** 0: a free slot. */
  private hashes = new Int32Array(SMALLEST);
  private keys: string[] = freeSlots("", SMALLEST);
  private held: (T | undefined)[] = freeSlots(undefined, SMALLEST);
  private mask = SMALLEST - 1;
  private count = 0;

  /** Any whole number of 32 bits, of which the lowest are spread evenly. */
  protected abstract hashOf(key: string): number;

  get size(): number {
    return this.count;
  }

  get(key: string): T | undefined {
    return this.held[this.slotOf(key, this.hashOf(key) || 1)];
  }

  has(key: string): boolean {
    return this.hashes[this.slotOf(key, this.hashOf(key) || 1)] !== 0;
  }

  set(key: string, value: T): void {
    const hash = this.hashOf(key) || 1;
    let slot = this.slotOf(key, hash);
    if (this.hashes[slot] === 0) {
      // Two thirds full at most: chains stay short.
      if (++this.count * 3 > this.keys.length * 2) {
        this.resize(this.keys.length * 2);
        slot = this.slotOf(key, hash);
      }
      this.hashes[slot] = hash;
      this.keys[slot] = key;
    }
    this.held[slot] = value;
  }

  /** True if it was there. */
  delete(key: string): boolean {
    const { hashes, keys, held, mask } = this;
    let gap = this.slotOf(key, this.hashOf(key) || 1);
    if (hashes[gap] === 0) return false;
    // Whoever stands behind the gap only because its own slot was taken moves up, or would be found no more.
    for (let slot = (gap + 1) & mask; hashes[slot] !== 0; slot = (slot + 1) & mask) {
      const home = hashes[slot]! & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      hashes[gap] = hashes[slot]!;
      keys[gap] = keys[slot]!;
      held[gap] = held[slot];
      gap = slot;
    }
    hashes[gap] = 0;
    keys[gap] = "";
    held[gap] = undefined;
    if (--this.count * 12 < keys.length && keys.length > SMALLEST) this.resize(keys.length / 4);
    return true;
  }

  clear(): void {
    this.count = 0;
    this.resize(SMALLEST);
  }

  /** All of them as they are now. */
  values(): T[] {
    return this.held.filter((_, slot) => this.hashes[slot] !== 0) as T[];
  }

  /** Their keys as they are now. */
  allKeys(): string[] {
    return this.keys.filter((_, slot) => this.hashes[slot] !== 0);
  }

  /** Where the key stands, or the free slot where it would. */
  private slotOf(key: string, hash: number): number {
    const { hashes, keys, mask } = this;
    let slot = hash & mask;
    for (let there = hashes[slot]; there !== 0; there = hashes[slot]) {
      if (there === hash && keys[slot] === key) return slot;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  private resize(slots: number): void {
    const { hashes, keys, held, count } = this;
    const length = Math.max(slots, SMALLEST);
    this.hashes = new Int32Array(length);
    this.keys = freeSlots("", length);
    this.held = freeSlots(undefined, length);
    this.mask = length - 1;
    if (count === 0) return;
    for (let i = 0; i < keys.length; i++) {
      const hash = hashes[i]!;
      if (hash === 0) continue;
      const slot = this.slotOf(keys[i]!, hash);
      this.hashes[slot] = hash;
      this.keys[slot] = keys[i]!;
      this.held[slot] = held[i];
    }
  }
}

const freeSlots = <S>(free: S, length: number): S[] => new Array<S>(length).fill(free);
