/** Counts the work that must end before the relay stops, e.g. records on their way to the disk, and waits for it. */
export class Outstanding {
  private count = 0;
  private waiting: (() => void)[] = [];
  private readonly over = (): void => {
    if (--this.count > 0) return;
    for (const resolve of this.waiting.splice(0)) resolve();
  };

  /** Success and failure both count as an end. */
  add(done: Promise<unknown>): void {
    this.count++;
    done.then(this.over, this.over);
  }

  /** Resolves when nothing is under way. */
  settled(): Promise<void> {
    return this.count === 0 ? Promise.resolve() : new Promise((resolve) => this.waiting.push(resolve));
  }
}
