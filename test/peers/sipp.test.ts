import { describe, expect } from "vitest";
import { peerTest } from "../support/peer-test.ts";
import { durations, lines, play } from "./play.ts";

const SIPP = ["sipp"];
const CHIANTI = JSON.stringify({
  charges: [{ id: "c1", item: "Chianti 2019", unitPrice: "12.50", quantity: "2", currency: "EUR" }],
});

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

  peerTest("registers before it calls (M9, RFC 3261 §10)", SIPP, 20_000, async () => {
    const bill = await play({
      transport,
      client: { scenario: "client-registers" },
      servers: [{ scenario: "server-call" }],
    });
    expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
  });

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

  peerTest(
    "gets its provisional answers reliably, and acknowledges each by PRACK (RFC 3262)",
    SIPP,
    20_000,
    async () => {
      const bill = await play({
        transport,
        client: { scenario: "client-100rel" },
        servers: [{ scenario: "server-100rel" }],
      });
      expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
    },
  );

  peerTest(
    "is answered by the first of two app servers, and the other's 200 crosses its CANCEL (M8)",
    SIPP,
    20_000,
    async () => {
      const bill = await play({
        transport,
        client: { scenario: "client-forked", holdMs: 300 },
        servers: [{ scenario: "server-crosses-cancel" }, { scenario: "server-call" }],
        config: { services: [{ id: "wine", tariff: "call", fork: "first" }] },
      });
      expect(lines(bill)).toEqual(["wine by winery2, ended by client: 0.50 EUR"]);
    },
  );

  for (const [said, status] of [
    [404, 404],
    [503, 500],
  ]) {
    peerTest(`hears the app server's ${said} as ${status} (M5; RFC 3261 §16.7, step 6)`, SIPP, 20_000, async () => {
      const bill = await play({
        transport,
        client: { scenario: `client-refused-${status}` },
        servers: [{ scenario: `server-refuses-${said}` }],
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
        "wine by winery1, ended by client: 0.50 EUR",
        "2 x Chianti 2019 by info: 25.00 EUR",
      ]);
    },
  );

  peerTest("is told what the session cost in the answer to its BYE (ETSI TS 124 647)", SIPP, 20_000, async () => {
    const bill = await play({
      transport,
      config: { charging: { advice: true } },
      client: { scenario: "client-advised", holdMs: 100 },
      servers: [{ scenario: "server-charges-at-bye", charges: CHIANTI }],
    });
    expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR", "2 x Chianti 2019 by bye: 25.00 EUR"]);
  });

  peerTest("is told what the session cost in the BYE that it gets (ETSI TS 124 647)", SIPP, 20_000, async () => {
    const bill = await play({
      transport,
      config: { charging: { advice: true } },
      client: { scenario: "client-hung-up-advised" },
      servers: [{ scenario: "server-hangs-up", holdMs: 300 }],
    });
    expect(lines(bill)).toEqual(["wine by winery1, ended by server: 0.50 EUR"]);
  });

  peerTest("is charged for what the app server says by MESSAGE after BYE (M15)", SIPP, 20_000, async () => {
    const bill = await play({
      transport,
      keys: true,
      client: { scenario: "client-call", holdMs: 1_500 }, // the relay sees the new key within a second
      servers: [{ scenario: "server-charges-late", charges: CHIANTI }],
    });
    expect(lines(bill)).toEqual([
      "wine by winery1, ended by client: 0.50 EUR",
      "2 x Chianti 2019 by message: 25.00 EUR",
    ]);
  });

  peerTest("is charged for what stands in the answer to BYE, and sees none of it (M16)", SIPP, 20_000, async () => {
    const bill = await play({
      transport,
      client: { scenario: "client-call", holdMs: 100 },
      servers: [{ scenario: "server-charges-at-bye", charges: CHIANTI }],
    });
    expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR", "2 x Chianti 2019 by bye: 25.00 EUR"]);
  });
});
