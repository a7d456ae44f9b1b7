import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { peerTest } from "../support/peer-test.ts";
import { freePort, start } from "../support/peers.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { PORTAL } from "../support/sipp.ts";
import { until } from "../support/until.ts";

describe("a softphone that scans the QR code of `tollgate user qr`", () => {
  peerTest("(linphonec) gets its settings by the URL in it, and registers", ["linphonec"], 60_000, async () => {
    const [http, sip, own] = [await freePort(), await freePort(), await freePort()];
    const url = `http://127.0.0.1:${http}`;
    const relay = await startRelayProcess({
      appServers: [],
      config: {
        http: { listen: `127.0.0.1:${http}` },
        listen: [`udp:127.0.0.1:${sip}`, `tcp:127.0.0.1:${sip}`],
        provisioning: { url, sip: `sip:127.0.0.1:${sip};transport=tcp` },
      },
    });
    try {
      const printed = await relay.command(["user", "qr", "alice"]);
      expect(printed).toMatch(/[▀▄█]{5}/);
      const [scanned] = /http:\/\/\S+/.exec(printed)!;
      expect(printed).not.toContain("secret");
      const svg = await relay.command(["user", "qr", "alice", "--svg"]);
      expect(svg).toMatch(/^<svg /);
      const home = join(relay.folder, "linphone");
      mkdirSync(join(home, ".local/share/linphone"), { recursive: true });
      const file = join(home, "linphonerc");
      const settings = `[sip]\nsip_port=0\nsip_tcp_port=${own}\nsip_tls_port=0\nuse_ipv6=0\nregister_only_when_network_is_up=0\n`;
      writeFileSync(
        file,
        `${settings}[misc]\nconfig-uri=${scanned}\n[net]\nfirewall_policy=0\n[rtp]\naudio_rtp_port=-1\n`,
      );
      const phone = await start("linphonec", "linphonec", ["-S", "-c", file], {
        env: { HOME: home, TERM: "dumb" },
        keepInput: true,
      });
      const asking = setInterval(() => void phone.child.stdin?.write("status register\n"), 200);
      await phone
        .says(new RegExp(`registered, identity=.*alice@${PORTAL}`), 20_000)
        .finally(() => clearInterval(asking));
      await until(async () => (await relay.command(["registrations"])).includes("alice"), 10_000);
      await phone.stop();
      const late = await fetch(scanned.replace(/\.\d{10}\./, ".1000000000."));
      expect(late.status).toBe(404);
      expect(relay.peer.output()).not.toContain(scanned.split("/").at(-1));
    } finally {
      await relay.remove();
    }
  });
});
