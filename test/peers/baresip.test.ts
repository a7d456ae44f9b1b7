import { describe, expect } from "vitest";
import { startBaresip } from "../support/baresip.ts";
import { peerTest } from "../support/peer-test.ts";
import { freePort } from "../support/peers.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { PORTAL, sippEnds, sippServer, startSipp } from "../support/sipp.ts";
import { directions, links, received, requests } from "./play.ts";

describe("baresip as client over UDP with MD5", () => {
  peerTest("calls, holds, resumes and hangs up (M9, M11; RFC 3261 §14)", ["sipp", "baresip"], 30_000, async () => {
    const port = await freePort();
    const relay = await startRelayProcess({ appServers: [{ id: "school", port, services: ["english"] }] });
    try {
      const options = { scenario: "server-changes", folder: relay.folder, port };
      const server = await sippServer(options);
      const baresip = await startBaresip({ folder: relay.folder, relayPort: relay.port });

      await baresip.command("dial", `sip:english@${PORTAL}`);
      await baresip.event("CALL_ESTABLISHED");
      await baresip.command("hold");
      await baresip.event("CALL_REMOTE_SDP");
      await baresip.command("resume");
      await baresip.event("CALL_REMOTE_SDP");
      await baresip.command("hangup");
      await baresip.event("CALL_CLOSED");
      await sippEnds(server, options);
      await baresip.command("quit");
      await baresip.peer.exit;

      const seen = received(options);
      expect(requests(seen)).toEqual(["INVITE", "ACK", "INVITE", "ACK", "INVITE", "ACK", "BYE"]);
      expect(directions(seen)).toEqual(["sendrecv", "sendonly", "sendrecv"]);
      const bill = await relay.billAfterStop("alice");
      expect(bill.services).toMatchObject([
        { service: "english", sessions: [{ appServer: "school", time: { endedBy: "client", amount: "0.50" } }] },
      ]);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`);
    } finally {
      await relay.remove();
    }
  });

  peerTest("is called by an app server, answers, and pays (RFC 3261 §10)", ["sipp", "baresip"], 60_000, async () => {
    const port = await freePort();
    const relay = await startRelayProcess({
      appServers: [{ id: "school", port, services: ["english"] }],
      config: { services: [{ id: "english", tariff: "call", callsClients: true }] },
    });
    try {
      const baresip = await startBaresip({ folder: relay.folder, relayPort: relay.port, answers: true });
      const made = JSON.parse(await relay.command(["appserver", "key", "add", "school", "--json"]));
      await relay.peer.says(/directory loaded[\s\S]*directory loaded/); // with the key
      const registered = JSON.parse(await relay.command(["registrations", "--json"]));
      expect(registered).toMatchObject([{ user: "alice", userAgent: expect.stringContaining("baresip") }]);
      const keys = ["-key", "user", "alice", "-au", made.key, "-ap", made.secret];
      const options = {
        scenario: "server-calls-client",
        folder: relay.folder,
        port,
        holdMs: 500,
        more: [`127.0.0.1:${relay.port}`, "-s", "english", ...keys],
      };
      await sippEnds(await startSipp(options), options);
      await baresip.event("CALL_CLOSED");
      await baresip.command("quit");
      await baresip.peer.exit;
      expect(JSON.parse(await relay.command(["registrations", "--json"]))).toEqual([]); // it says so when it ends
      const bill = await relay.billAfterStop("alice");
      expect(bill.services).toMatchObject([
        { service: "english", sessions: [{ appServer: "school", time: { endedBy: "server", amount: "0.50" } }] },
      ]);
    } catch (error) {
      throw new Error(`${(error as Error).message}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`);
    } finally {
      await relay.remove();
    }
  });

  // It knows REFER as the blind transfer of a telephone: what it is told to transfer it hangs up when the NOTIFY says
  // 200.
  peerTest("moves to a second app server by REFER (M23, RFC 3515)", ["sipp", "baresip"], 30_000, async () => {
    const [school, library] = [await freePort(), await freePort()];
    const relay = await startRelayProcess({
      appServers: [
        { id: "school", port: school, services: ["english"] },
        { id: "library", port: library, services: ["books"] },
      ],
    });
    try {
      const servers = [school, library].map((port) => ({ scenario: "server-call", folder: relay.folder, port }));
      const ends = [];
      for (const options of servers) ends.push(sippEnds(await sippServer(options), options));
      const baresip = await startBaresip({ folder: relay.folder, relayPort: relay.port, answers: true });
      await baresip.command("dial", `sip:english@${PORTAL}`);
      await baresip.event("CALL_ESTABLISHED");
      await baresip.command("transfer", `sip:books@${PORTAL}`);
      await baresip.event("CALL_ESTABLISHED");
      expect((await baresip.event("CALL_CLOSED")).param).toBe("Call transfered");
      await ends[0];
      await baresip.command("hangup");
      await ends[1];
      await baresip.command("quit");
      await baresip.peer.exit;

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
      throw new Error(`${(error as Error).message}\n--- the relay's log ---\n${relay.peer.output().slice(-6_000)}`);
    } finally {
      await relay.remove();
    }
  });
});
