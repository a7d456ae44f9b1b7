import { describe, expect } from "vitest";
import { peerTest } from "../support/peer-test.ts";
import { lines, play } from "./play.ts";

const SIPP = ["sipp"];

describe("SIPp at both ends over a bad network", () => {
  peerTest("completes 300 calls at 50 a second with 5% of the packets dropped on both ways", SIPP, 60_000, async () => {
    const load = { calls: 300, rate: 50, trace: false, timeoutS: 58 };
    const bill = await play({
      transport: "udp",
      lostPercent: 5,
      // Long enough for a lost ACK to be made good: the relay says 200 again after 0.5, 1.5, 3.5 and 7.5 s.
      client: { ...load, scenario: "client-call", holdMs: 8_000 },
      servers: [{ ...load, scenario: "server-call", holdMs: 8_000 }],
    });
    expect(lines(bill).length).toBe(300);
    expect(new Set(lines(bill))).toEqual(new Set(["wine by winery1, ended by client: 0.50 EUR"]));
  });
});
