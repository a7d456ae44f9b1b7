import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort, type Peer, start } from "./peers.ts";
import { PORTAL } from "./sipp.ts";

/* linphonec 5 (Debian `linphone-cli`), without a sound card, told what to do by its standard input. */

export interface Linphone {
  readonly peer: Peer;
  /** One line of its shell, such as `call sip:english@portal.example`. */
  command(line: string): void;
}

/** Starts linphonec for user alice, with everything sent by way of the relay; it takes calls by itself. `folder`: an existing one for its files. */
export async function startLinphone(options: { folder: string; relayPort: number }): Promise<Linphone> {
  const home = join(options.folder, "linphone");
  mkdirSync(join(home, ".local/share/linphone"), { recursive: true }); // It fails to make that by itself.
  const config = join(home, "linphonerc");
  writeFileSync(config, configuration(options.relayPort, await freePort()));
  const peer = await start("linphonec", "linphonec", ["-a", "-S", "-c", config], {
    env: { HOME: home, TERM: "dumb" },
    keepInput: true,
  });
  await peer.says(/linphonec>|Ready/);
  return { peer, command: (line) => void peer.child.stdin?.write(`${line}\n`) };
}

function configuration(relayPort: number, ownPort: number): string {
  return `[sip]
sip_port=${ownPort}
sip_tcp_port=0
sip_tls_port=0
use_ipv6=0
default_proxy=0
register_only_when_network_is_up=0
guess_hostname=1

[net]
firewall_policy=0
mtu=0

[rtp]
audio_rtp_port=-1

[proxy_0]
reg_proxy=<sip:127.0.0.1:${relayPort};transport=udp>
reg_route=<sip:127.0.0.1:${relayPort};transport=udp>
reg_identity=sip:alice@${PORTAL}
reg_expires=0
reg_sendregister=0
publish=0

[auth_info_0]
username=alice
passwd=secret
realm=${PORTAL}
domain=${PORTAL}
`;
}
