import { createSocket } from "node:dgram";
import { describe, expect } from "vitest";
import type { Bill } from "../../src/charging/bill.ts";
import { peerTest } from "../support/peer-test.ts";
import { freePort } from "../support/peers.ts";
import { play } from "./play.ts";

const SIPP = ["sipp"];
const CHIANTI = JSON.stringify({
  charges: [{ id: "c1", item: "Chianti 2019", unitPrice: "12.50", quantity: "2", currency: "EUR" }],
});

/** What the bill says, short: each session's app server, end and price, and each thing sold. */
const lines = (bill: Bill) =>
  bill.services.flatMap(({ service, sessions }) =>
    sessions.flatMap(({ appServer, time, items }) => [
      ...(time ? [`${service} by ${appServer}, ended by ${time.endedBy}: ${time.amount} ${time.currency}`] : []),
      ...items.map((one) => `${one.quantity} x ${one.item} by ${one.channel}: ${one.amount} ${one.currency}`),
    ]),
  );
const durations = (bill: Bill) => bill.services.flatMap(({ sessions }) => sessions.map(({ time }) => time?.durationMs));

describe.each(["udp", "tcp"] as const)("SIPp at both ends over %s", (transport) => {
  peerTest(
    "calls with digest and no registration, and hangs up (M1, M2, M5-M7, M9, M11-M13)",
    SIPP,
    20_000,
    async () => {
      const bill = await play({
        transport,
        client: { scenario: "client-call", holdMs: 1_200 },
        servers: [{ scenario: "server-call" }],
      });
      expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
      // From the relayed ACK to the relayed 200 of BYE; SIPp's pause lies between them.
      expect(durations(bill)[0]).toBeGreaterThanOrEqual(1_150);
      expect(durations(bill)[0]).toBeLessThan(3_000);
    },
  );

  peerTest("is hung up on by the app server (M11)", SIPP, 20_000, async () => {
    const bill = await play({
      transport,
      client: { scenario: "client-hung-up" },
      servers: [{ scenario: "server-hangs-up", holdMs: 300 }],
    });
    expect(lines(bill)).toEqual(["wine by winery1, ended by server: 0.50 EUR"]);
  });

  peerTest("is answered 404 where no app server offers the service (M4)", SIPP, 20_000, async () => {
    const bill = await play({ transport, client: { scenario: "client-refused-404", service: "beer" } });
    expect(lines(bill)).toEqual([]);
  });

  peerTest("is answered 401 to a wrong password (M2)", SIPP, 20_000, async () => {
    const bill = await play({ transport, client: { scenario: "client-wrong-password", password: "guess" } });
    expect(lines(bill)).toEqual([]);
  });

  peerTest("is answered 401 when the user is not registered (M2)", SIPP, 20_000, async () => {
    const bill = await play({ transport, client: { scenario: "client-wrong-password", user: "mallory" } });
    expect(lines(bill)).toEqual([]);
  });

  peerTest("gives up while it rings, and the app server is told so (RFC 3261 §9)", SIPP, 20_000, async () => {
    const bill = await play({
      transport,
      client: { scenario: "client-cancel" },
      servers: [{ scenario: "server-cancelled" }],
    });
    expect(lines(bill)).toEqual([]);
  });

  for (const status of [404, 503]) {
    peerTest(`hears the app server's ${status} as it came (M5)`, SIPP, 20_000, async () => {
      const bill = await play({
        transport,
        client: { scenario: `client-refused-${status}` },
        servers: [{ scenario: `server-refuses-${status}` }],
      });
      expect(lines(bill)).toEqual([]);
    });
  }

  peerTest(
    "is charged once for what the app server says twice by INFO, and sees none of it (M14)",
    SIPP,
    20_000,
    async () => {
      const bill = await play({
        transport,
        client: { scenario: "client-call", holdMs: 700 },
        servers: [{ scenario: "server-charges-by-info", charges: CHIANTI }],
      });
      expect(lines(bill)).toEqual([
        "2 x Chianti 2019 by info: 25.00 EUR",
        "wine by winery1, ended by client: 0.50 EUR",
      ]);
    },
  );

  peerTest("is charged for what stands in the answer to BYE, and sees none of it (M16)", SIPP, 20_000, async () => {
    const bill = await play({
      transport,
      client: { scenario: "client-call", holdMs: 100 },
      servers: [{ scenario: "server-charges-at-bye", charges: CHIANTI }],
    });
    expect(lines(bill)).toEqual(["2 x Chianti 2019 by bye: 25.00 EUR", "wine by winery1, ended by client: 0.50 EUR"]);
  });
});

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

describe("SIPp at both ends over a bad network", () => {
  peerTest("completes 300 calls at 50 a second with 5% of the packets dropped at each end", SIPP, 60_000, async () => {
    const load = { calls: 300, rate: 50, lostPercent: 5, trace: false, timeoutS: 55 };
    const bill = await play({
      transport: "udp",
      // Long enough for a lost ACK to be made good: the relay says 200 again after 0.5, 1.5 and 3.5 s.
      client: { ...load, scenario: "client-call", holdMs: 5_000 },
      servers: [{ ...load, scenario: "server-call", holdMs: 5_000 }],
    });
    expect(lines(bill).length).toBe(300);
    expect(new Set(lines(bill))).toEqual(new Set(["wine by winery1, ended by client: 0.50 EUR"]));
  });
});
