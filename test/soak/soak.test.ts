import { describe, expect, it } from "vitest";
import { soak } from "./soak.ts";

describe("mixed flows by all transports, with sessions standing: the short form of `npm run soak`", () => {
  it("leave no memory, descriptor, session, timer behind, and every charge is billed", {
    timeout: 400_000,
  }, async () => {
    const lines: string[] = [];
    const say = (line: string) => void lines.push(line);
    const checks = await soak({ minutes: 0.5, standing: 50, calls: 5, flows: 4, say });
    // Memory says nothing in so short a time.
    const failed = checks.filter(({ what, holds }) => !holds && !what.startsWith("memory"));
    expect(failed, lines.join("\n")).toEqual([]);
  });
});
