import { describe, it } from "vitest";

/*
 * Tests that cannot run everywhere: where something is missing, they are skipped, and the last lines of a run say why
 * (closing-lines.ts). `why`: what is missing; undefined: nothing is.
 */

export function itUnless(why: string | undefined): typeof it {
  if (why === undefined) return it;
  const left = (name: string) => it(name, ({ skip }) => skip(why));
  return Object.assign(left, { each: () => left }) as unknown as typeof it;
}

export const describeUnless = (why: string | undefined): typeof describe =>
  why === undefined
    ? describe
    : (((name: string) =>
        describe(name, () => {
          it("is left out", ({ skip }) => skip(why));
        })) as unknown as typeof describe);
