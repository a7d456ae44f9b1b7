/** All chance of a simulation, from one seed: the same seed plays the same story. */
export class Chance {
  private state: number;

  constructor(seed: number) {
    this.state = seed * 2_654_435_761;
  }

  /** From 0 to below 1 (mulberry32). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** True in so many of a hundred cases. */
  percent(percent: number): boolean {
    return this.next() * 100 < percent;
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  of<T>(values: readonly T[]): T {
    return values[Math.floor(this.next() * values.length)]!;
  }
}
