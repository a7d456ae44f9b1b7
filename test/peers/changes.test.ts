// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect } from "vitest";
import { peerTest } from "../support/peer-test.ts";
import { durations, lines, links, perform, requests } from "./play.ts";

/* Figure 8: the wine shop becomes a beer shop, of the same house or of another; and what changes no service. */

const SIPP = ["sipp"];
const HOLD_MS = 400;
const named = (id: string) => ({
  name: `asks for ${id}`,
  when: { body: { "service.@name": id } },
  then: { service: id },
});
const config = {
  services: [
    { id: "wine", tariff: "bottle" },
    { id: "beer", tariff: "pint" },
  ],
  tariffs: [
    { id: "bottle", currency: "EUR", setupFee: "0.50" },
    { id: "pint", currency: "EUR", setupFee: "4.50" },
  ],
  rules: [named("wine"), named("beer"), { name: "by name", then: {} }],
};
const more = ["-key", "next", "beer"];
const GLASS = JSON.stringify({
  charges: [{ id: "c1", item: "Corkage", unitPrice: "2.00", quantity: "1", currency: "EUR" }],
});

/** Both parts were asked for so long at least: the clock of the one stopped when that of the other started. */
function bothLasted(bill: Parameters<typeof durations>[0]) {
  for (const ms of durations(bill)) {
    expect(ms).toBeGreaterThanOrEqual(HOLD_MS - 50);
    expect(ms).toBeLessThan(HOLD_MS + 2_000);
  }
}

describe.each(["udp", "tcp"] as const)("SIPp's client changes the service over %s", (transport) => {
  for (const [how, suffix] of [
    ["re-INVITE", ""],
    ["UPDATE", "-by-update"],
  ] as const) {
    peerTest(`at the same app server, by ${how} (M20)`, SIPP, 30_000, async () => {
      const { bill, got } = await perform({
        transport,
        config,
        client: { scenario: `client-changes${suffix}`, holdMs: HOLD_MS, more },
        servers: [
          { scenario: how === "UPDATE" ? "server-agrees-to-update" : "server-agrees", services: ["wine", "beer"] },
        ],
      });
      expect(lines(bill)).toEqual([
        "beer by winery1, ended by client: 4.50 EUR",
        "wine by winery1, ended by change: 0.50 EUR",
      ]);
      expect(links(bill)).toEqual(["beer after wine by change"]);
      expect(bill.calls).toMatchObject([{ parts: [{ service: "wine" }, { service: "beer" }] }]);
      bothLasted(bill);
      expect(requests(got("winery1"))).toEqual(
        how === "UPDATE" ? ["INVITE", "ACK", "UPDATE", "BYE"] : ["INVITE", "ACK", "INVITE", "ACK", "BYE"],
      );
      expect(got("winery1")[2]).toContain('<service name="beer"/>');
    });

    peerTest(
      `at another app server, by ${how}; the first one is left with BYE and Reason (M21)`,
      SIPP,
      30_000,
      async () => {
        const { bill, got } = await perform({
          transport,
          config,
          client: { scenario: `client-changes${suffix}`, holdMs: HOLD_MS, more },
          servers: [
            { scenario: "server-left" },
            { id: "brewer", services: ["beer"], scenario: "server-charges-at-bye", charges: GLASS },
          ],
        });
        expect(lines(bill)).toEqual([
          "beer by brewer, ended by client: 4.50 EUR",
          "1 x Corkage by bye: 2.00 EUR",
          "wine by winery1, ended by change: 0.50 EUR",
        ]);
        expect(links(bill)).toEqual(["beer after wine by change"]);
        expect(bill.calls).toMatchObject([{ parts: [{ appServer: "winery1" }, { appServer: "brewer" }] }]);
        bothLasted(bill);
        expect(requests(got("winery1"))).toEqual(["INVITE", "ACK", "BYE"]);
        expect(got("winery1").at(-1)).toContain('text="the client changed to another service"');
        expect(requests(got("brewer"))).toEqual(["INVITE", "ACK", "BYE"]);
      },
    );
  }
});

describe("SIPp's client is refused another service", () => {
  for (const [how, scenario, server, seen] of [
    ["re-INVITE", "client-change-refused", "server-agrees", ["INVITE", "ACK", "INVITE", "ACK", "BYE"]],
    ["UPDATE", "client-update-refused", "server-call", ["INVITE", "ACK", "BYE"]],
  ] as const) {
    peerTest(
      `by ${how}: it gets the 404 of the app server asked, and the session goes on (RFC 6141)`,
      SIPP,
      30_000,
      async () => {
        const { bill, got } = await perform({
          transport: "udp",
          config,
          client: { scenario, holdMs: 200, more },
          servers: [{ scenario: server }, { id: "brewer", services: ["beer"], scenario: "server-refuses-404" }],
        });
        expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
        expect(bill.calls).toEqual([]);
        expect(requests(got("winery1"))).toEqual(seen);
        expect(requests(got("brewer"))).toEqual(["INVITE", "ACK"]);
      },
    );
  }
});

describe("SIPp's client asks for another service that nobody decides about", () => {
  const servers = [{ scenario: "server-call" }, { id: "brewer", services: ["beer"], scenario: "server-cancelled" }];
  const goesOn = ["wine by winery1, ended by client: 0.50 EUR"];

  peerTest(
    "and takes it back: CANCEL goes to the app server that is asked, and the session goes on",
    SIPP,
    30_000,
    async () => {
      const { bill, got } = await perform({
        transport: "udp",
        config,
        client: { scenario: "client-change-cancelled", holdMs: 200, more },
        servers,
      });
      expect(lines(bill)).toEqual(goesOn);
      expect(requests(got("winery1"))).toEqual(["INVITE", "ACK", "BYE"]);
      expect(requests(got("brewer"))).toEqual(["INVITE", "CANCEL", "ACK"]);
    },
  );

  peerTest("and hangs up: both app servers are told, and the first part is charged", SIPP, 30_000, async () => {
    const { bill, got } = await perform({
      transport: "udp",
      config,
      client: { scenario: "client-change-left", holdMs: HOLD_MS, more },
      servers,
    });
    expect(lines(bill)).toEqual(goesOn);
    bothLasted(bill);
    expect(requests(got("brewer"))).toEqual(["INVITE", "CANCEL", "ACK"]);
  });

  peerTest("by UPDATE: 504 when the time is over, and the session goes on (RFC 3311 §5.2)", SIPP, 30_000, async () => {
    const { bill, got } = await perform({
      transport: "udp",
      config: { ...config, session: { probeS: 0, silentS: 1 } },
      client: { scenario: "client-update-unanswered", holdMs: 100, more },
      servers,
    });
    expect(lines(bill)).toEqual(goesOn);
    expect(requests(got("brewer"))).toEqual(["INVITE", "CANCEL", "ACK"]);
  });
});

describe("SIPp's app server", () => {
  for (const [how, suffix] of [
    ["re-INVITE", ""],
    ["UPDATE", "-by-update"],
  ] as const) {
    peerTest(`changes to another service that it offers, by ${how} (M22)`, SIPP, 30_000, async () => {
      const { bill } = await perform({
        transport: "udp",
        config,
        client: { scenario: `client-changed${suffix}`, holdMs: HOLD_MS },
        servers: [{ scenario: `server-changes-service${suffix}`, holdMs: HOLD_MS, more, services: ["wine", "beer"] }],
      });
      expect(lines(bill)).toEqual([
        "beer by winery1, ended by client: 4.50 EUR",
        "wine by winery1, ended by change: 0.50 EUR",
      ]);
      expect(links(bill)).toEqual(["beer after wine by change"]);
      bothLasted(bill);
    });
  }

  peerTest(
    "may not change to what it does not offer: 403, and the client hears nothing of it (M22)",
    SIPP,
    30_000,
    async () => {
      const { bill } = await perform({
        transport: "udp",
        config,
        client: { scenario: "client-call", holdMs: 300 },
        servers: [{ scenario: "server-may-not-change", more }],
        others: [{ id: "brewer", port: 9, services: ["beer"] }],
      });
      expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
    },
  );
});

describe("what changes no service passes from end to end", () => {
  peerTest(
    "but not the refreshes of a client's session timer: the relay has one with each end (RFC 4028)",
    SIPP,
    30_000,
    async () => {
      const { bill, got } = await perform({
        transport: "udp",
        config,
        client: { scenario: "client-timed", holdMs: 50 },
        servers: [{ scenario: "server-call" }],
      });
      expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
      expect(requests(got("winery1"))).toEqual(["INVITE", "ACK", "BYE"]);
      expect(got("winery1")[0]).toContain("Session-Expires: 1800");
    },
  );

  peerTest("hold, resume and refresh of the client (M20; RFC 3264 §8.4, RFC 3311)", SIPP, 30_000, async () => {
    const { bill } = await perform({
      transport: "udp",
      config,
      client: { scenario: "client-holds", holdMs: 50 },
      servers: [{ scenario: "server-held" }],
    });
    expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
    expect(bill.calls).toEqual([]);
  });

  peerTest("hold, resume and refresh of the app server (M22; RFC 3264 §8.4, RFC 3311)", SIPP, 30_000, async () => {
    const { bill } = await perform({
      transport: "udp",
      config,
      client: { scenario: "client-held" },
      servers: [{ scenario: "server-holds", holdMs: 50 }],
    });
    expect(lines(bill)).toEqual(["wine by winery1, ended by server: 0.50 EUR"]);
    expect(bill.calls).toEqual([]);
  });
});

describe("two changes at once", () => {
  const once = ["wine by winery1, ended by client: 0.50 EUR"];

  peerTest(
    "the app server's meets the client's: 491, and it comes through later (RFC 3261 §14.2)",
    SIPP,
    30_000,
    async () => {
      const { bill } = await perform({
        transport: "udp",
        client: { scenario: "client-glare", holdMs: 50 },
        servers: [{ scenario: "server-meets-glare" }],
      });
      expect(lines(bill)).toEqual(once);
    },
  );

  peerTest(
    "the client's meets the app server's: 491, and it comes through later (RFC 3261 §14.2)",
    SIPP,
    30_000,
    async () => {
      const { bill } = await perform({
        transport: "udp",
        client: { scenario: "client-meets-glare", holdMs: 50 },
        servers: [{ scenario: "server-glare" }],
      });
      expect(lines(bill)).toEqual(once);
    },
  );

  peerTest("of the same end: 500 with Retry-After, and the first stands (RFC 3261 §14.2)", SIPP, 30_000, async () => {
    const { bill } = await perform({
      transport: "udp",
      client: { scenario: "client-overlaps", holdMs: 50 },
      servers: [{ scenario: "server-agrees-late" }],
    });
    expect(lines(bill)).toEqual(once);
  });
});
