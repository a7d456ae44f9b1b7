/** How many slots an empty table has. No table has fewer. A power of two. */
const SMALLEST = 64;

/**
 * A map with texts as keys, made for thousands of entries that come and go each second. A `Map` makes a new table each
 * time that it is full. The old table stays chained to the new one, with all entries that it had. Once such a table is
 * in the garbage collector's old space, all later tables survive with it, and their entries, until a full collection.
 * Half of what a call left behind for that collection was such tables. This table leaves nothing behind.
 *
 * Open addressing with linear probing; the gap of a deleted entry is filled from behind. The hashes have an array of
 * their own: most lookups find that a key is not there, and for that they need only the hashes. The entries have no
 * order.
 */
export abstract class HashTable<T> {
  /** 0: a free slot. */
  private hashes = new Int32Array(SMALLEST);
  private keys: string[] = freeSlots("", SMALLEST);
  private held: (T | undefined)[] = freeSlots(undefined, SMALLEST);
  private mask = SMALLEST - 1;
  private count = 0;

  /** Any whole number of 32 bits. Its lowest bits must be spread evenly. */
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
      // At most two thirds are full, so that searches stay short.
      if (++this.count * 3 > this.keys.length * 2) {
        this.resize(this.keys.length * 2);
        slot = this.slotOf(key, hash);
      }
      this.hashes[slot] = hash;
      this.keys[slot] = key;
    }
    this.held[slot] = value;
  }

  /** Returns true if the key was there. */
  delete(key: string): boolean {
    const { hashes, keys, held, mask } = this;
    let gap = this.slotOf(key, this.hashOf(key) || 1);
    if (hashes[gap] === 0) return false;
    // An entry may stand behind the gap only because its own slot was taken. It moves into the gap, or no search would
    // find it.
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

  /** All values, as a copy. */
  values(): T[] {
    return this.held.filter((_, slot) => this.hashes[slot] !== 0) as T[];
  }

  /** All keys, as a copy. */
  allKeys(): string[] {
    return this.keys.filter((_, slot) => this.hashes[slot] !== 0);
  }

  /** The slot of the key, or the free slot where it would stand. */
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
