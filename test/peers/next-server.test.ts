import { createSocket } from "node:dgram";
import { describe, expect } from "vitest";
import { peerTest } from "../support/peer-test.ts";
import { freePort } from "../support/peers.ts";
import { lines, play } from "./play.ts";

const SIPP = ["sipp"];

describe("SIPp at both ends, with another app server before", () => {
  peerTest("gets the next by priority where nobody listens (M4, M5)", SIPP, 20_000, async () => {
    const bill = await play({
      transport: "tcp",
      client: { scenario: "client-call" },
      servers: [{ scenario: "server-call" }],
      others: [{ id: "down", port: await freePort(), services: ["wine"], transport: "tcp", priority: 1 }],
    });
    expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
  });

  peerTest(
    "gets the next by priority where somebody listens and says nothing (M5; RFC 3261 §17.1.1.2, timer B)",
    SIPP,
    30_000,
    async () => {
      const silent = createSocket("udp4");
      await new Promise<void>((resolve) => silent.bind(0, "127.0.0.1", resolve));
      try {
        const bill = await play({
          transport: "udp",
          client: { scenario: "client-call" },
          servers: [{ scenario: "server-call" }],
          others: [{ id: "silent", port: silent.address().port, services: ["wine"], priority: 1 }],
          config: { timers: { t1Ms: 20 } }, // timer B after 1.28 s
        });
        expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
      } finally {
        silent.close();
      }
    },
  );

  peerTest("gets the next by priority where the phone rings and nobody answers (M5)", SIPP, 20_000, async () => {
    const bill = await play({
      transport: "udp",
      client: { scenario: "client-call" },
      servers: [{ scenario: "server-cancelled" }, { scenario: "server-call" }],
      config: { services: [{ id: "wine", tariff: "call", ringS: 1 }] },
    });
    expect(lines(bill)).toEqual(["wine by winery2, ended by client: 0.50 EUR"]);
  });
});
