import { afterEach, describe, expect, it, vi } from "vitest";
import type { TestCase, TestModule } from "vitest/node";
import StandingStill from "./standing-still.ts";

const module = (name: string) => ({ moduleId: name, relativeModuleId: name }) as TestModule;
const oneOf = (of: TestModule, timeout: number, retry = 0) =>
  ({ module: of, fullName: "waits", options: { timeout, retry } }) as unknown as TestCase;

function watch() {
  const said: string[] = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => void said.push(line));
  let now = 0;
  let ended = 0;
  const still = new StandingStill({
    now: () => now,
    endWorkers: () => {
      ended++;
      return ["process 7, waiting in futex"];
    },
  });
  const endedAfter = (ms: number) => {
    now += ms;
    still.look();
    return ended;
  };
  return { still, said, endedAfter };
}

afterEach(() => void vi.restoreAllMocks());

describe("the watch over files that stand still", () => {
  it("ends a test that is a minute over its own limit, all tries counted, and says which and what else ends", () => {
    const { still, said, endedAfter } = watch();
    still.onTestModuleQueued(module("a.test.ts"));
    still.onTestCaseReady(oneOf(module("a.test.ts"), 90_000, 1));
    expect(endedAfter(239_000)).toBe(0);
    still.onTestModuleQueued(module("b.test.ts"));
    expect(endedAfter(2_000)).toBe(1);
    expect(said).toEqual([
      "stands still, and is ended: a.test.ts > waits",
      "ended with it, since its process is not known apart: b.test.ts",
      "  killed: process 7, waiting in futex",
    ]);
    expect(endedAfter(600_000)).toBe(1);
  });

  it("gives what has no limit of its own three minutes, and lets be what goes on or is over", () => {
    const { still, endedAfter } = watch();
    still.onTestModuleQueued(module("a.test.ts"));
    expect(endedAfter(170_000)).toBe(0);
    still.onTestCaseResult(oneOf(module("a.test.ts"), 10_000));
    expect(endedAfter(170_000)).toBe(0);
    still.onTestModuleEnd(module("a.test.ts"));
    expect(endedAfter(600_000)).toBe(0);
    still.onTestCaseResult(oneOf(module("a.test.ts"), 10_000)); // comes late
    expect(endedAfter(600_000)).toBe(0);
    still.onTestModuleQueued(module("b.test.ts"));
    expect(endedAfter(181_000)).toBe(1);
  });
});
