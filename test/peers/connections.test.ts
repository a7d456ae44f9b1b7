import { describe, expect } from "vitest";
import { startBaresip } from "../support/baresip.ts";
import { certificateFolder } from "../support/certificates.ts";
import { startLinphone } from "../support/linphone.ts";
import { peerTest } from "../support/peer-test.ts";
import { freePort } from "../support/peers.ts";
import { type RelayProcess, startRelayProcess } from "../support/relay-process.ts";
import { PORTAL, type SippOptions, sippEnds, sippServer } from "../support/sipp.ts";
import { received, requests } from "./play.ts";

/* Clients over TCP and TLS. Over UDP they do more: baresip.test.ts, linphone.test.ts. */

const files = certificateFolder([`DNS:${PORTAL}`, "DNS:localhost", "IP:127.0.0.1"]);

interface World {
  readonly relay: RelayProcess;
  readonly port: number;
  /** The app server has been called and was hung up. */
  ends(): Promise<void>;
}

/** A relay that listens by that transport, and an app server in SIPp; `act` plays the client. */
async function play(transport: "tcp" | "tls", act: (world: World) => Promise<void>): Promise<void> {
  const [shop, port] = [await freePort(), await freePort()];
  const relay = await startRelayProcess({
    appServers: [{ id: "school", port: shop, services: ["english"] }],
    config: {
      listen: [`udp:127.0.0.1:${port}`, `${transport}:127.0.0.1:${port}`],
      tls: { cert: files.cert, key: files.key },
    },
  });
  try {
    const options: SippOptions = { scenario: "server-call", folder: relay.folder, port: shop };
    const ends = sippEnds(await sippServer(options), options);
    await act({ relay, port, ends: () => ends });
    expect(requests(received(options))).toEqual(["INVITE", "ACK", "BYE"]);
    const bill = await relay.billAfterStop("alice");
    expect(bill.services).toMatchObject([
      { service: "english", sessions: [{ appServer: "school", time: { endedBy: "client", amount: "0.50" } }] },
    ]);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`);
  } finally {
    await relay.remove();
  }
}

describe.each(["tcp", "tls"] as const)("over %s, signed in by MD5", (transport) => {
  peerTest("baresip calls and hangs up (M9, M11)", ["sipp", "baresip"], 40_000, () =>
    play(transport, async ({ relay, port, ends }) => {
      const baresip = await startBaresip({ folder: relay.folder, relayPort: port, transport, ca: files.ca });
      await baresip.command("dial", `sip:english@${PORTAL}`);
      await baresip.event("CALL_ESTABLISHED");
      await baresip.command("hangup");
      await baresip.event("CALL_CLOSED");
      await ends();
      await baresip.command("quit");
      await baresip.peer.exit;
    }),
  );

  peerTest("linphonec calls and hangs up (M9, M11)", ["sipp", "linphonec"], 40_000, () =>
    play(transport, async ({ relay, port, ends }) => {
      const linphone = await startLinphone({ folder: relay.folder, relayPort: port, transport, ca: files.ca });
      linphone.command(`call sip:english@${PORTAL}`);
      await linphone.peer.says(/Media streams established/);
      linphone.command("terminate");
      await ends();
      linphone.command("quit");
      await linphone.peer.exit;
    }),
  );
});
