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

/**
 * Starts linphonec for user alice, with everything sent by way of the relay; it takes calls by itself. `folder`: an
 * existing one for its files.
 */
export async function startLinphone(options: {
  folder: string;
  relayPort: number;
  transport?: "udp" | "tcp" | "tls";
  /** Whom to believe; a file. */
  ca?: string;
  /** Session timers (RFC 4028): the interval, in seconds, that it asks for. It refreshes by itself. */
  expiresS?: number;
}): Promise<Linphone> {
  const home = join(options.folder, "linphone");
  mkdirSync(join(home, ".local/share/linphone"), { recursive: true }); // It fails to make that by itself.
  const config = join(home, "linphonerc");
  writeFileSync(config, configuration(options, await freePort()));
  const peer = await start("linphonec", "linphonec", ["-a", "-S", "-c", config], {
    env: { HOME: home, TERM: "dumb" },
    keepInput: true,
  });
  await peer.says(/linphonec>|Ready/);
  const command = (line: string) => void peer.child.stdin?.write(`${line}\n`);
  // It registers by itself, says nothing of it, and answers when it is asked.
  const asking = setInterval(() => command("status register"), 100);
  await peer.says(/registered, identity=/).finally(() => clearInterval(asking));
  return { peer, command };
}

/** 2: the caller refreshes. */
const timer = (expiresS: number) =>
  `session_expires_enabled=1\nsession_expires_value=${expiresS}\nsession_expires_refresher_value=2`;

function configuration(
  { relayPort, transport = "udp", ca, expiresS }: Parameters<typeof startLinphone>[0],
  ownPort: number,
): string {
  const port = (name: string) => (name === transport ? ownPort : 0);
  // By TLS it wants a name in the certificate.
  const relay = `<sip:${transport === "tls" ? "localhost" : "127.0.0.1"}:${relayPort};transport=${transport}>`;
  return `[sip]
sip_port=${port("udp")}
sip_tcp_port=${port("tcp")}
sip_tls_port=${port("tls")}
${ca === undefined ? "" : `root_ca=${ca}`}
${expiresS === undefined ? "" : timer(expiresS)}
use_ipv6=0
default_proxy=0
register_only_when_network_is_up=0
guess_hostname=1

[net]
firewall_policy=0
mtu=0

[rtp]
audio_rtp_port=-1
nortp_timeout=300

[proxy_0]
reg_proxy=${relay}
reg_route=${relay}
reg_identity=sip:alice@${PORTAL}
reg_expires=3600
reg_sendregister=1
publish=0

[auth_info_0]
username=alice
passwd=secret
realm=${PORTAL}
domain=${PORTAL}
`;
}
