import { describe, expect, it } from "vitest";
import { mongoKind, NO_MONGO } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram } from "../support/nats-server.ts";
import { play } from "./chaos.ts";

/*
 * Half a minute of what `npm run chaos` does for as long as one likes: the numbers are small, the processes are real.
 */

describe("a cluster to which something is done every few seconds (P3)", () => {
  it("loses no established session, no charge that was answered, and has one owner for each session", {
    timeout: 300_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    const said: string[] = [];
    const { lines, faults } = await play({
      ...{
        seed: 7,
        rate: 8,
        standing: 40,
        seconds: 30,
        everyS: 2,
        nodes: 3,
        nats: 1,
        workers: 1,
        direct: false,
        tcp: 10,
        talkMs: 2_000,
      },
      steps: ["kill", "stop"],
      say: (line) => said.push(line),
    });
    expect(faults, [...said, ...lines].join("\n")).toEqual([]);
    expect(lines.join("\n")).toMatch(/steps: [1-9]/);
  });
});
