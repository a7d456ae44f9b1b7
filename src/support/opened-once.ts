interface Opened<T> {
  readonly thing: Promise<T>;
  /** How many have it. */
  holders: number;
}

/** A thing that is shared, and how its holder lets go of it: when the last one has, it is closed. */
export interface Held<T> {
  readonly thing: T;
  /** Resolves when the thing is closed, or at once where others still hold it. A second call does nothing more. */
  release(): Promise<void>;
}

/** For what a process may have open only once: who opens it again, under the same key, gets the one that is open. */
export class OpenedOnce<T extends { close(): Promise<void> }> {
  private readonly opened = new Map<string, Opened<T>>();
  private readonly closing = new Map<string, Promise<unknown>>();

  /** `open` is called if it is not open. If that rejects, so does this, for everybody who waits for it. */
  async hold(key: string, open: () => Promise<T>): Promise<Held<T>> {
    let opened = this.opened.get(key);
    if (!opened) {
      const before = this.closing.get(key)?.catch(() => {}) ?? Promise.resolve();
      opened = { thing: before.then(open), holders: 0 };
      this.opened.set(key, opened);
    }
    opened.holders++;
    const { thing } = opened;
    let released: Promise<void> | undefined;
    const release = () => {
      released ??= this.letGo(key, opened);
      return released;
    };
    try {
      return { thing: await thing, release };
    } catch (error) {
      if (this.opened.get(key) === opened) this.opened.delete(key);
      throw error;
    }
  }

  private async letGo(key: string, opened: Opened<T>): Promise<void> {
    if (--opened.holders > 0) return;
    this.opened.delete(key);
    const closed = opened.thing.then((thing) => thing.close());
    this.closing.set(key, closed);
    try {
      await closed;
    } finally {
      if (this.closing.get(key) === closed) this.closing.delete(key);
    }
  }
}
