import { createSocket } from "node:dgram";
import { describe, expect } from "vitest";
import { peerTest } from "../support/peer-test.ts";
import { durations, lines, perform, play, requests } from "./play.ts";

/*
 * Figure 10: one INVITE, and every app server that offers the service is asked; and what a client may say about that.
 */

const SIPP = ["sipp"];
const HOLD_MS = 400;
const CHIANTI = JSON.stringify({
  charges: [{ id: "c1", item: "Chianti 2019", unitPrice: "12.50", quantity: "2", currency: "EUR" }],
});
const wine = (more: Readonly<Record<string, unknown>>) => ({ services: [{ id: "wine", tariff: "call", ...more }] });

describe("SIPp's client of a service that all who offer it are asked for", () => {
  const servers = [{ scenario: "server-charges-at-bye", charges: CHIANTI }, { scenario: "server-call" }];
  const both = [
    "2 x Chianti 2019 by bye: 25.00 EUR",
    "wine by winery1, ended by client: 0.50 EUR",
    "wine by winery2, ended by client: 0.50 EUR",
  ];

  peerTest("has two sessions by one INVITE, each with its own clock, charges and end (M25)", SIPP, 20_000, async () => {
    const { bill, got } = await perform({
      transport: "udp",
      config: wine({ fork: "all" }),
      client: { scenario: "client-forked-all", holdMs: HOLD_MS },
      servers,
    });
    expect(lines(bill).sort()).toEqual(both);
    expect(bill.totals).toMatchObject([{ amount: "26.00" }]);
    const [shorter = 0, longer = 0] = durations(bill)
      .map(Number)
      .sort((a, b) => a - b);
    expect(shorter).toBeGreaterThanOrEqual(HOLD_MS - 50);
    expect(longer).toBeGreaterThanOrEqual(shorter + HOLD_MS - 100);
    for (const winery of ["winery1", "winery2"]) expect(requests(got(winery))).toEqual(["INVITE", "ACK", "BYE"]);
    const answers = got("client").filter((message) => /^SIP\/2.0 200 [\s\S]*^CSeq: 2 INVITE/m.test(message));
    expect(new Set(answers.map((answer) => /^To:.*;tag=(\S+)/m.exec(answer)?.[1])).size).toBe(2);
  });

  peerTest(
    "ends at once what it does not want: ACK, then BYE; the other goes on (M25, E 7)",
    SIPP,
    20_000,
    async () => {
      const { bill, got } = await perform({
        transport: "udp",
        config: wine({ fork: "all" }),
        client: { scenario: "client-forked-drops", holdMs: HOLD_MS },
        servers,
      });
      expect(lines(bill).sort()).toEqual(both);
      const [dropped = 0, kept = 0] = durations(bill)
        .map(Number)
        .sort((a, b) => a - b);
      expect(dropped).toBeLessThan(HOLD_MS);
      expect(kept).toBeGreaterThanOrEqual(HOLD_MS - 50);
      for (const winery of ["winery1", "winery2"]) expect(requests(got(winery))).toEqual(["INVITE", "ACK", "BYE"]);
    },
  );
});

describe("SIPp's client of a service whose first answer wins", () => {
  const config = wine({ fork: "first" });
  const cancelled = ["INVITE", "CANCEL", "ACK"];

  peerTest("acknowledges the reliable provisional answers of each branch (RFC 3262)", SIPP, 20_000, async () => {
    const { bill, got } = await perform({
      transport: "udp",
      config,
      client: { scenario: "client-100rel-forked", holdMs: 100 },
      servers: [{ scenario: "server-100rel-loses" }, { scenario: "server-100rel-later" }],
    });
    expect(lines(bill)).toEqual(["wine by winery2, ended by client: 0.50 EUR"]);
    expect(requests(got("winery1"))).toEqual(["INVITE", "PRACK", "CANCEL", "ACK"]);
    expect(requests(got("winery2"))).toEqual(["INVITE", "PRACK", "ACK", "BYE"]);
  });

  peerTest("hears of a 6xx at once, and who rings is cancelled (RFC 3261 §16.7)", SIPP, 20_000, async () => {
    const { bill, got } = await perform({
      transport: "udp",
      config,
      client: { scenario: "client-refused-603" },
      servers: [{ scenario: "server-cancelled" }, { scenario: "server-declines", holdMs: 300 }],
    });
    expect(lines(bill)).toEqual([]);
    expect(requests(got("winery1"))).toEqual(cancelled);
  });

  peerTest("hears of the best of several refusals (RFC 3261 §16.7)", SIPP, 20_000, async () => {
    const bill = await play({
      transport: "udp",
      config,
      client: { scenario: "client-refused-404" },
      servers: [{ scenario: "server-refuses-503" }, { scenario: "server-refuses-404" }],
    });
    expect(lines(bill)).toEqual([]);
  });
});

describe("SIPp's client says by Request-Disposition how app servers are to be asked (RFC 3841 §9.1)", () => {
  const disposition = (directive: string) => ["-key", "disposition", directive];

  peerTest("parallel, where one would be asked after the other: the first success wins", SIPP, 20_000, async () => {
    const { bill, got } = await perform({
      transport: "udp",
      config: wine({ fork: "sequential", clientMayChoose: ["first"] }),
      client: { scenario: "client-chooses", more: disposition("parallel"), holdMs: 100 },
      servers: [{ scenario: "server-cancelled" }, { scenario: "server-call" }],
    });
    expect(lines(bill)).toEqual(["wine by winery2, ended by client: 0.50 EUR"]);
    expect(requests(got("winery1"))).toEqual(["INVITE", "CANCEL", "ACK"]);
  });

  peerTest("no-fork, where all would be asked: the best app server alone is", SIPP, 20_000, async () => {
    let messages = 0;
    const spare = createSocket("udp4").on("message", () => messages++);
    await new Promise<void>((resolve) => spare.bind(0, "127.0.0.1", resolve));
    try {
      const bill = await play({
        transport: "udp",
        config: wine({ fork: "first", clientMayChoose: ["single"] }),
        client: { scenario: "client-chooses-refused", more: disposition("no-fork") },
        servers: [{ scenario: "server-refuses-503" }],
        others: [{ id: "spare", port: spare.address().port, services: ["wine"], priority: 99 }],
      });
      expect(lines(bill)).toEqual([]);
      expect(messages).toBe(0);
    } finally {
      spare.close();
    }
  });

  peerTest("changes nothing where the operator does not allow it", SIPP, 20_000, async () => {
    const bill = await play({
      transport: "udp",
      config: wine({ fork: "first" }),
      client: { scenario: "client-chooses", more: disposition("no-fork"), holdMs: 100 },
      servers: [{ scenario: "server-refuses-503" }, { scenario: "server-call" }],
    });
    expect(lines(bill)).toEqual(["wine by winery2, ended by client: 0.50 EUR"]);
  });
});
