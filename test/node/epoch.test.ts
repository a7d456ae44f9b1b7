import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nextEpoch } from "../../src/node/epoch.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tg-epoch-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a node's epoch (P3)", () => {
  it("grows with each start, also within a second, and when the wall clock was set back", () => {
    expect([nextEpoch(folder, 5_000_000), nextEpoch(folder, 5_000_100), nextEpoch(folder, 4_000_000)]).toEqual([
      5_000, 5_001, 5_002,
    ]);
  });

  it("grows by the clock where the data folder is older than the node, or was lost", () => {
    nextEpoch(folder, 5_000_000);
    expect(nextEpoch(folder, 9_000_000)).toBe(9_000);
  });

  it.each(["", "spoilt", "-4", "1e300", "7.5"])("goes by the clock where the file says %j", (text) => {
    writeFileSync(join(folder, "epoch"), text);
    expect(nextEpoch(folder, 5_000_000)).toBe(5_000);
  });

  it("cannot be had where the folder cannot be written", () => {
    expect(() => nextEpoch(join(folder, "nowhere"), 5_000_000)).toThrow("ENOENT");
  });
});
