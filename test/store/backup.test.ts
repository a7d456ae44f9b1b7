import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { backUp, restore } from "../../src/store/backup.ts";
import { freshFolder } from "../charging/folders.ts";

/** What looks like a data folder. */
function dataFolder(): string {
  const data = join(freshFolder(), "data");
  mkdirSync(join(data, "store"), { recursive: true });
  writeFileSync(join(data, "store", "data.mdb"), "");
  return data;
}

const APART = /are in each other: /;

describe("a copy of a data folder (P4)", () => {
  it.each(["", "copy", "store/copy", ".."])("is not made where it would hold itself: data/%s", async (where) => {
    const data = dataFolder();
    const before = readdirSync(data);
    await expect(backUp(data, join(data, where))).rejects.toThrow(APART);
    expect(readdirSync(data)).toEqual(before);
  });

  it("does not go back where it would be moved aside with what it replaces", () => {
    const data = dataFolder();
    const inside = join(data, "copy");
    mkdirSync(join(inside, "store"), { recursive: true });
    writeFileSync(join(inside, "store", "data.mdb"), "");
    const link = join(dirname(data), "link");
    symlinkSync(data, link);
    for (const from of [data, inside, link]) expect(() => restore(from, data)).toThrow(APART);
    expect(existsSync(join(data, "store", "data.mdb"))).toBe(true);
    expect(existsSync(`${data}.before-restore`)).toBe(false);
  });
});
