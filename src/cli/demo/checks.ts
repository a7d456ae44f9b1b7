import { isDeepStrictEqual } from "node:util";

/** What was not as expected, in words for whoever runs the demo. */
export class Checks {
  readonly failures: string[] = [];
  passed = 0;

  /** Notes a failure unless both are the same. */
  equal(what: string, found: unknown, expected: unknown): void {
    this.that(isDeepStrictEqual(found, expected), `${what}: expected ${shown(expected)}, found ${shown(found)}`);
  }

  that(holds: boolean, failure: string): void {
    if (holds) this.passed++;
    else this.failures.push(failure);
  }
}

const shown = (value: unknown) => (value === undefined ? "nothing" : JSON.stringify(value));
