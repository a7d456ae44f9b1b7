import { describe, expect } from "vitest";
import { startLinphone } from "../support/linphone.ts";
import { peerTest } from "../support/peer-test.ts";
import { freePort } from "../support/peers.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { PORTAL, sippEnds, sippServer } from "../support/sipp.ts";
import { received, requests } from "./play.ts";

/** The shortest interval there is (RFC 4028 §5). The session is refreshed at its half. */
const INTERVAL_S = 90;

describe("session timers with an end that has its own (RFC 4028 §10)", () => {
  peerTest(
    "linphonec refreshes the session as it said, the relay does so towards the app server, and the call goes on",
    ["sipp", "linphonec"],
    120_000,
    async () => {
      const port = await freePort();
      const relay = await startRelayProcess({ appServers: [{ id: "school", port, services: ["english"] }] });
      let said = () => "";
      try {
        const options = { scenario: "server-timed", folder: relay.folder, port, timeoutS: 100 };
        const server = await sippServer(options);
        const linphone = await startLinphone({ folder: relay.folder, relayPort: relay.port, expiresS: INTERVAL_S });
        said = linphone.peer.output;
        linphone.command(`call sip:english@${PORTAL}`);
        await linphone.peer.says(/Media streams established/);
        // Its refresh, and our 200.
        await linphone.peer.says(
          /Media streams established[\s\S]*Media streams established/,
          (INTERVAL_S / 2) * 1_000 + 10_000,
        );
        linphone.command("terminate");
        await sippEnds(server, options);
        linphone.command("quit");
        await linphone.peer.exit;

        const seen = received(options);
        expect(requests(seen)).toEqual(["INVITE", "ACK", "UPDATE", "BYE"]); // its own refresh ends at the relay
        const refresh = seen.find((message) => message.startsWith("UPDATE"));
        expect(refresh).toMatch(/^Session-Expires: 90;refresher=uac\r?$/m);
        expect(refresh).not.toMatch(/^Subject:/m);
        const bill = await relay.billAfterStop("alice");
        expect(bill.services).toMatchObject([{ sessions: [{ time: { endedBy: "client" } }] }]);
      } catch (error) {
        const log = `${said()}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`;
        throw new Error(`${(error as Error).message}\n${log}`);
      } finally {
        await relay.remove();
      }
    },
  );
});
