import { describe, expect } from "vitest";
import { startLinphone } from "../support/linphone.ts";
import { peerTest } from "../support/peer-test.ts";
import { freePort } from "../support/peers.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { PORTAL, sippEnds, sippServer } from "../support/sipp.ts";
import { directions, links, received, requests } from "./play.ts";

describe("linphonec as client over UDP with MD5", () => {
  peerTest("calls, holds, resumes and hangs up (M9, M11; RFC 3261 §14)", ["sipp", "linphonec"], 40_000, async () => {
    const port = await freePort();
    const relay = await startRelayProcess({ appServers: [{ id: "school", port, services: ["english"] }] });
    let said = () => "";
    try {
      const options = { scenario: "server-changes", folder: relay.folder, port };
      const server = await sippServer(options);
      const linphone = await startLinphone({ folder: relay.folder, relayPort: relay.port });
      said = linphone.peer.output;
      linphone.command(`call sip:english@${PORTAL}`);
      await linphone.peer.says(/Media streams established/);
      linphone.command("pause");
      await linphone.peer.says(/Call \d+ .*paused\./);
      linphone.command("resume");
      await linphone.peer.says(/Call \d+ .*paused\.[\s\S]*Media streams established/);
      linphone.command("terminate");
      await sippEnds(server, options);
      linphone.command("quit");
      await linphone.peer.exit;

      const seen = received(options);
      expect(requests(seen)).toEqual(["INVITE", "ACK", "INVITE", "ACK", "INVITE", "ACK", "BYE"]);
      expect(directions(seen)).toEqual(["sendrecv", "sendonly", "sendrecv"]);
      const bill = await relay.billAfterStop("alice");
      expect(bill.services).toMatchObject([
        { service: "english", sessions: [{ appServer: "school", time: { endedBy: "client", amount: "0.50" } }] },
      ]);
    } catch (error) {
      const log = `${said()}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`;
      throw new Error(`${(error as Error).message}\n${log}`);
    } finally {
      await relay.remove();
    }
  });

  peerTest("moves to a second app server by REFER (M23, RFC 3515)", ["sipp", "linphonec"], 40_000, async () => {
    const [school, library] = [await freePort(), await freePort()];
    const relay = await startRelayProcess({
      appServers: [
        { id: "school", port: school, services: ["english"] },
        { id: "library", port: library, services: ["books"] },
      ],
    });
    let said = () => "";
    try {
      const servers = [school, library].map((port) => ({ scenario: "server-call", folder: relay.folder, port }));
      const ends = [];
      for (const options of servers) ends.push(sippEnds(await sippServer(options), options));
      const linphone = await startLinphone({ folder: relay.folder, relayPort: relay.port });
      said = linphone.peer.output;
      linphone.command(`call sip:english@${PORTAL}`);
      await linphone.peer.says(/Call \d+ with .*english.* connected/);
      linphone.command(`transfer sip:books@${PORTAL}`);
      await linphone.peer.says(/Call \d+ with .*books.* connected/);
      await ends[0];
      linphone.command("terminate");
      await ends[1];
      linphone.command("quit");
      await linphone.peer.exit;
      const [first, second] = servers.map((options) => received(options));
      for (const seen of [first!, second!]) expect(requests(seen)).toEqual(["INVITE", "ACK", "BYE"]);
      expect(second?.[0]).toMatch(/^To: <sip:books@portal.example>\r?$/m);
      expect(second?.[0]).toContain("P-Asserted-Identity: <sip:alice@portal.example>");
      expect(second?.find((message) => message.startsWith("ACK"))).toContain("m=audio"); // the answer to its offer
      const bill = await relay.billAfterStop("alice");
      expect(bill.services).toMatchObject([
        { service: "books", sessions: [{ appServer: "library", time: { endedBy: "client", amount: "0.50" } }] },
        { service: "english", sessions: [{ appServer: "school", time: { amount: "0.50" } }] },
      ]);
      expect(links(bill)).toEqual(["books after english by move"]);
    } catch (error) {
      const log = `${said()}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`;
      throw new Error(`${(error as Error).message}\n${log}`);
    } finally {
      await relay.remove();
    }
  });
});
