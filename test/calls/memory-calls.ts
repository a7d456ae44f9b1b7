import type { CallRecord } from "../../src/calls/record.ts";
import type { CallPage, CallPageQuery, CallStore } from "../../src/calls/store.ts";

/** A store of call records in memory. */
export class MemoryCalls implements CallStore {
  pages_: CallPage[] = [];
  broken = false;

  async add(page: CallPage): Promise<void> {
    if (this.broken) throw new Error("the store is away");
    this.pages_.push(page);
  }

  async *pages({ ring, since = 0 }: CallPageQuery): AsyncIterable<string> {
    for (const page of this.pages_.toReversed()) if (page.ring === ring && page.at >= since) yield page.text;
  }

  async forget({ ring, before, most }: { ring: string; before: number; most: number }): Promise<number> {
    let kept = 0;
    let gone = 0;
    for (const page of this.pages_.toReversed().filter((one) => one.ring === ring)) {
      kept += page.count;
      if (page.at >= before && kept <= most) continue;
      gone += page.count;
      this.pages_ = this.pages_.filter((one) => one !== page);
    }
    return gone;
  }

  /** All records, in the order in which they were written. */
  get records(): CallRecord[] {
    return this.pages_.flatMap(({ text }) => text.split("\n").map((line) => JSON.parse(line) as CallRecord));
  }
}
