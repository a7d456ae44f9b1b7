import type { NodeRecords } from "../../src/bus/types.ts";
import type { TestClock } from "../support/test-clock.ts";

/** The nodes' records, as most servers of a JetStream have them. Some nodes may not reach these servers. */
export class Records {
  readonly all = new Map<string, { readonly text: string; readonly sequence: number }>();
  /** True: that node does not reach JetStream, and its questions have no answer. */
  isAway: (node: string) => boolean = () => false;
  /** Milliseconds to JetStream and back. */
  tripMs = 2;
  readonly written: { readonly at: number; readonly by: string; readonly node: string; readonly text: string }[] = [];
  private readonly clock: TestClock;
  private sequence = 0;

  constructor(clock: TestClock) {
    this.clock = clock;
  }

  /** JetStream as that node sees it. `turn`: does what comes, when the node goes on. */
  of(by: string, turn: (what: () => void) => void = (what) => what()): NodeRecords {
    const ask = <T>(act: () => T): Promise<T> =>
      new Promise((resolve, reject) => {
        const { clock, tripMs } = this;
        clock.setTimeout(() => {
          if (this.isAway(by)) {
            clock.setTimeout(() => turn(() => reject(new Error("no answer"))), 1_000);
            return;
          }
          const found = act();
          clock.setTimeout(() => turn(() => resolve(found)), tripMs / 2);
        }, tripMs / 2);
      });
    return {
      read: (node) => ask(() => this.all.get(node)),
      write: (node, text, sequence) =>
        ask(() => {
          if ((this.all.get(node)?.sequence ?? 0) !== sequence) return undefined;
          this.all.set(node, { text, sequence: ++this.sequence });
          this.written.push({ at: this.clock.monotonic(), by, node, text });
          return this.sequence;
        }),
    };
  }
}
