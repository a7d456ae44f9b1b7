import { join } from "node:path";
import { describe, expect } from "vitest";
import { peerTest } from "../support/peer-test.ts";
import { freePort } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { sippClient, sippEnds, sippServer } from "../support/sipp.ts";
import { lines } from "./play.ts";

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
  // By UDP only: SIPp 3.6 gives the call up when the last NOTIFY and the BYE behind it come in one piece, as they do by TCP.
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
