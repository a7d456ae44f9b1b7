import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { loadIdentityKey } from "../../src/identity/key.ts";
import { identityHeader } from "../../src/sip/passport.ts";
import { openPortal } from "../e2e/portal.ts";
import { UdpPeer } from "../e2e/udp-peer.ts";
import { peerTest } from "../support/peer-test.ts";
import { freePort, listens, start } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";

const NEEDS = ["kamailio:secsipid"];

describe("an app server behind Kamailio, by ops/proof/kamailio.cfg (M10, RFC 8224)", () => {
  peerTest("takes what came through the relay, and refuses what did not, replays included", NEEDS, 30_000, async () => {
    const folder = await mkdtemp(join(tmpdir(), "tollgate-kamailio-"));
    const url = "https://portal.example:8443";
    const key = join(folder, "identity-key.pem");
    const identity = loadIdentityKey({ url }, folder);
    await writeFile(join(folder, "relay.pem"), identity.pem);
    const port = await freePort();
    const kamailio = await start("kamailio", "kamailio", [
      ...["-f", join(ROOT, "ops/proof/kamailio.cfg"), "-DD", "-E", "-m", "64", "-l", `udp:127.0.0.1:${port}`],
      ...["-A", `RELAY_KEY="${join(folder, "relay.pem")}"`, "-A", 'SELF="sip:127.0.0.1"'],
      ...["-P", join(folder, "pid"), "-Y", folder],
    ]);
    await listens(kamailio, "udp", port);
    const portal = await openPortal({
      config: {
        identity: { url, key },
        services: [{ id: "wine" }],
        appServers: [{ id: "kamailio", uri: `sip:127.0.0.1:${port}`, services: ["wine"] }],
      },
    });
    const alice = await UdpPeer.open(() => ({ address: "127.0.0.1", port: portal.udp }));
    const mallory = await UdpPeer.open(() => ({ address: "127.0.0.1", port }));
    try {
      const invite = await alice.call("wine");
      alice.ack(invite, await alice.nextResponse(200));

      const direct = async (identityValue?: string) => {
        const headers: [string, string][] = identityValue === undefined ? [] : [["Identity", identityValue]];
        mallory.invite({ uri: `sip:127.0.0.1:${port}`, headers });
        return mallory;
      };
      const signed = (changes: object = {}) =>
        identityHeader(
          {
            orig: { uri: "sip:alice@portal.example" },
            dest: { uri: ["sip:127.0.0.1"] },
            iat: Math.floor(Date.now() / 1000),
            jti: `j${Math.random().toString(36).slice(2)}`,
            ...changes,
          },
          identity,
        );
      await (await direct()).nextResponse(428);
      const once = signed();
      await (await direct(once)).nextResponse(200);
      await (await direct(once)).nextResponse(403);
      await (await direct(signed({ dest: { uri: ["sip:192.0.2.1"] } }))).nextResponse(438);
      await (await direct(signed({ iat: Math.floor(Date.now() / 1000) - 90 }))).nextResponse(438);
      const [header, , signature] = once.split(".");
      const forged = Buffer.from(
        '{"dest":{"uri":["sip:127.0.0.1"]},"iat":1,"jti":"x","orig":{"uri":"sip:boss@a.example"}}',
      );
      await (await direct(`${header}.${forged.toString("base64url")}.${signature}`)).nextResponse(438);
      expect(kamailio.exited).toBeUndefined();
    } finally {
      await portal.close();
      alice.close();
      mallory.close();
      await kamailio.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
