import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { seeded } from "../sip/messages.ts";
import { mutate } from "./mutate.ts";
import { TARGETS } from "./targets.ts";

const folder = new URL("corpus/", import.meta.url);
const inputs = (name: string) =>
  readdirSync(new URL(`${name}/`, folder)).map((file) => readFileSync(new URL(`${name}/${file}`, folder)));

describe("the corpus of the fuzzer", () => {
  it.each(TARGETS.map((target) => [target.name, target] as const))("does no harm: %s", async (name, target) => {
    const all = [...target.seeds.map((seed) => Buffer.from(seed, "latin1")), ...inputs(name)];
    expect(all.length).toBeGreaterThan(target.seeds.length);
    for (const bytes of all) await target.run(bytes);
    // And a few that are new, the same in each run.
    const random = seeded(1);
    const pick = (below: number) => Math.floor(random() * below);
    for (let i = 0; i < 200; i++)
      await target.run(mutate(all[pick(all.length)]!, all[pick(all.length)]!, target.words, pick));
  });

  it("is small enough to keep", () => {
    const bytes = TARGETS.flatMap(({ name }) => inputs(name)).reduce((sum, { length }) => sum + length, 0);
    expect(bytes).toBeLessThan(500_000);
  });
});
