// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { join } from "node:path";
import { describe, expect } from "vitest";
import { peerTest } from "../support/peer-test.ts";
import { freePort } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { sippClient, sippEnds, sippServer } from "../support/sipp.ts";
import { durations, lines, links, perform, requests } from "./play.ts";

/** A client of the vintner moves on to the brewer; resolves to the lines of its bill. */
async function moves(scenario: string, transport: "udp" | "tcp"): Promise<string[]> {
  const [vintner, brewer] = [await freePort(), await freePort()];
  const relay = await startRelayProcess({
    appServers: [
      { id: "vintner", port: vintner, services: ["wine"], transport },
      { id: "brewer", port: brewer, services: ["beer"], transport },
    ],
  });
  try {
    const { folder, port: remotePort } = relay;
    const first = { scenario: "server-call", folder, port: vintner, transport };
    const second = { scenario: "server-hangs-up", folder, port: brewer, transport, holdMs: 500 };
    const ends = [first, second].map(async (options) => sippEnds(await sippServer(options), options));
    const more = ["-key", "next", "beer", "-oocsf", join(ROOT, "ops/sipp/client-invited.xml")];
    const client = {
      scenario,
      folder,
      port: await freePort(),
      remotePort,
      service: "wine",
      transport,
      more,
      holdMs: 2_000,
    };
    ends.push(sippEnds(await sippClient(client), client));
    await Promise.all(ends);
    return lines(await relay.billAfterStop("alice"));
  } catch (error) {
    throw new Error(`${(error as Error).message}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`);
  } finally {
    await relay.remove();
  }
}

describe("SIPp at all three ends", () => {
  // By UDP only: SIPp 3.6 gives the call up when the last NOTIFY and the BYE behind it come in one piece, as they do by
  // TCP.
  peerTest("moves to a second app server by REFER; the first session ends (M23)", ["sipp"], 40_000, async () => {
    expect(await moves("client-moves", "udp")).toEqual([
      "beer by brewer, ended by server: 0.50 EUR",
      "wine by vintner, ended by relay: moved to beer: 0.50 EUR",
    ]);
  });

  for (const transport of ["udp", "tcp"] as const)
    peerTest(`moves by REFER over ${transport}; the first session goes on (M24)`, ["sipp"], 40_000, async () => {
      expect(await moves("client-moves-keeping", transport)).toEqual([
        "beer by brewer, ended by server: 0.50 EUR",
        "wine by vintner, ended by client: 0.50 EUR",
      ]);
    });
});

describe("SIPp's client moves on by a second INVITE", () => {
  const config = {
    services: ["wine", "beer"].map((id) => ({ id, tariff: "call" })),
    rules: [
      { name: "asks for beer", when: { body: { "service.@name": "beer" } }, then: { service: "beer" } },
      { name: "by name", then: {} },
    ],
  };
  const holdMs = 400;
  const more = ["-key", "next", "beer"];
  const brewer = { id: "brewer", services: ["beer"], scenario: "server-call" };

  for (const transport of ["udp", "tcp"] as const)
    peerTest(`with Replaces, over ${transport}: the first session ends (M23, RFC 3891)`, ["sipp"], 30_000, async () => {
      const { bill, got } = await perform({
        transport,
        config,
        client: { scenario: "client-replaces", holdMs, more },
        servers: [{ scenario: "server-left" }, brewer],
      });
      expect(lines(bill)).toEqual([
        "beer by brewer, ended by client: 0.50 EUR",
        "wine by winery1, ended by relay: moved to beer: 0.50 EUR",
      ]);
      expect(links(bill)).toEqual(["beer after wine by move"]);
      expect(bill.calls).toMatchObject([{ parts: [{ service: "wine" }, { service: "beer" }] }]);
      for (const ms of durations(bill)) expect(ms).toBeGreaterThanOrEqual(holdMs - 50);
      expect(got("winery1").at(-1)).toContain('text="moved to beer"');
    });

  peerTest("with Target-Dialog: both go on until it ends them (M24, RFC 4538)", ["sipp"], 30_000, async () => {
    const { bill } = await perform({
      transport: "udp",
      config,
      client: { scenario: "client-goes-on", holdMs, more },
      servers: [{ scenario: "server-call" }, brewer],
    });
    expect(lines(bill)).toEqual([
      "beer by brewer, ended by client: 0.50 EUR",
      "wine by winery1, ended by client: 0.50 EUR",
    ]);
    expect(links(bill)).toEqual(["beer after wine by move"]);
    for (const ms of durations(bill)) expect(ms).toBeGreaterThanOrEqual(2 * holdMs - 100);
  });
});

describe("SIPp's client is sent on by REFER", () => {
  const more = ["-key", "next", "beer", "-oocsf", join(ROOT, "ops/sipp/client-invited.xml")];
  const brewer = { id: "brewer", services: ["beer"], scenario: "server-hangs-up", holdMs: 300 };
  const isMoved = [
    "beer by brewer, ended by server: 0.50 EUR",
    "wine by winery1, ended by relay: moved to beer: 0.50 EUR",
  ];
  // What comes after the call that SIPp began is of another of its calls: the pause at the end is for that.
  const holdMs = 1_000;

  for (const [how, scenario] of [
    ["outside of the session, which Target-Dialog names (M23, RFC 4538)", "client-refers-outside"],
    ["without reports: Refer-Sub: false (M23, RFC 4488 §4)", "client-moves-unreported"],
  ] as const) {
    peerTest(`of its own, ${how}`, ["sipp"], 30_000, async () => {
      const { bill, got } = await perform({
        transport: "udp",
        client: { scenario, holdMs, more },
        servers: [{ scenario: "server-left" }, brewer],
      });
      expect(lines(bill)).toEqual(isMoved);
      expect(links(bill)).toEqual(["beer after wine by move"]);
      expect(requests(got("client")).includes("NOTIFY")).toBe(scenario === "client-refers-outside");
    });
  }

  peerTest("of its own, twice at once: 491 to the second, and the first goes through", ["sipp"], 30_000, async () => {
    const { bill } = await perform({
      transport: "udp",
      client: { scenario: "client-refers-twice", holdMs, more },
      servers: [{ scenario: "server-left" }, { ...brewer, scenario: "server-answers-late" }],
    });
    expect(lines(bill)).toEqual(isMoved);
  });

  peerTest(
    "of its own, and refused there: it hears so by NOTIFY, and the first session goes on",
    ["sipp"],
    30_000,
    async () => {
      const { bill, got } = await perform({
        transport: "udp",
        client: { scenario: "client-move-refused", holdMs: 200, more: ["-key", "next", "beer"] },
        servers: [{ scenario: "server-call" }, { id: "brewer", services: ["beer"], scenario: "server-refuses-503" }],
      });
      expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
      expect(requests(got("brewer"))).toEqual(["INVITE", "ACK"]);
    },
  );

  peerTest("of the app server, to a partner that it may send clients to (M23)", ["sipp"], 30_000, async () => {
    const { bill } = await perform({
      transport: "udp",
      client: { scenario: "client-left", holdMs, more },
      servers: [{ scenario: "server-refers", mayReferTo: ["brewer"], more: ["-key", "next", "beer"] }, brewer],
    });
    expect(lines(bill)).toEqual(isMoved);
    expect(links(bill)).toEqual(["beer after wine by move"]);
  });

  peerTest("of the app server, to whom it may not: 403, and nothing has changed", ["sipp"], 30_000, async () => {
    const { bill, got } = await perform({
      transport: "udp",
      client: { scenario: "client-call", holdMs: 200 },
      servers: [{ scenario: "server-may-not-refer", more: ["-key", "next", "beer"] }],
      others: [{ id: "brewer", port: 9, services: ["beer"] }],
    });
    expect(lines(bill)).toEqual(["wine by winery1, ended by client: 0.50 EUR"]);
    expect(requests(got("client"))).toEqual([]);
  });
});
