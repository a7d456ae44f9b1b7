import { describe, expect, it, vi } from "vitest";
import { mongoKind, NO_MONGO } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram } from "../support/nats-server.ts";
import { replays } from "./replay.ts";
import { FAULTS, play } from "./scenarios.ts";

/*
 * Some seconds of what `npm run faults` does for minutes: real nats-server, MongoDB or its stand-in, relay and billing
 * worker as processes.
 */

/**
 * NATS and MongoDB alone have tests of their own (test/bus/nats-faults, test/store/mongo-faults); `npm run faults` has
 * all.
 */
const LEFT_OUT = ["none", "NATS killed and started again", "MongoDB killed and started again"];
const LOAD = { rate: 30, seconds: 4, downMs: 1_000, holdMs: 500, chargesPerCall: 1 };

describe("in the middle of a load, with relay, billing worker, NATS and MongoDB as processes of their own (P2)", () => {
  for (const fault of FAULTS.filter(({ name }) => !LEFT_OUT.includes(name)))
    it(`what was answered is on the bills, to the last unit: ${fault.name}`, { timeout: 400_000 }, async ({ skip }) => {
      skip(!natsProgram, NO_NATS);
      skip(mongoKind() === undefined, NO_MONGO);
      const report = await play(fault, LOAD);
      if (typeof report === "string") return skip(report);
      expect(report.faults).toEqual([]);
      expect(report.billed).toBe(report.answered);
      expect(report.answered).toBeGreaterThan(20);
    });

  it("a MongoDB that is somebody else's is not killed, and the reason is told", async () => {
    vi.stubEnv("MONGODB_URL", "mongodb://127.0.0.1:1");
    const kills = FAULTS.filter(({ name }) => name.includes("MongoDB"));
    for (const fault of kills) expect(await play(fault, LOAD)).toMatch(/MONGODB_URL is somebody else's/);
    expect(kills.length).toBe(2);
    vi.unstubAllEnvs();
  });

  for (const { name, run } of replays)
    it(`the bill is the same: ${name}`, { timeout: 400_000 }, async ({ skip }) => {
      skip(!natsProgram, NO_NATS);
      skip(mongoKind() === undefined, NO_MONGO);
      const report = await run(LOAD);
      expect(report.faults).toEqual([]);
      expect(report.billed).toBeGreaterThan(20);
    });
});
