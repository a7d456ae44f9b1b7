import { describe, expect, it } from "vitest";
import { systemRandom, timeOrderedId } from "../../src/support/random.ts";

const NOW = Date.UTC(2026, 0, 1);

describe("ids that sort by time", () => {
  it("stand in the order of their milliseconds, whatever is random about them", () => {
    const times = [0, 1, 35, 36, NOW, NOW + 1, NOW + 1_000, Date.UTC(2059, 11, 31), Date.UTC(2060, 0, 1)];
    const ids = times.map((at) => timeOrderedId(at, systemRandom));
    expect([...ids].sort()).toEqual(ids);
  });

  it("are letters and digits with 80 random bits behind the time", () => {
    const ids = Array.from({ length: 1_000 }, () => timeOrderedId(NOW, systemRandom));
    for (const id of ids) expect(id).toMatch(/^[0-9a-z]{9}[0-9a-f]{20}$/);
    expect(new Set(ids.map((id) => id.slice(0, 9))).size).toBe(1);
    expect(new Set(ids).size).toBe(1_000);
    const asked: (number | undefined)[] = [];
    timeOrderedId(NOW, { token: (bits) => `${asked.push(bits)}` });
    expect(asked).toEqual([80]);
  });
});
