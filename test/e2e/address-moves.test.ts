import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { isInstalled, run, start } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { until } from "../support/until.ts";
import { billed, chargeOf, knowsNoUpdate, startNodes, withoutCluster } from "./cluster-nodes.ts";
import { establish } from "./live-peer.ts";
import { UdpPeer } from "./udp-peer.ts";

/*
 * Each node has an address that a survivor takes over, by ops/cluster/keepalived.conf: two machines as network
 * namespaces on one bridge, with the real keepalived. The ends are at the bridge.
 */

const NET = `10.213.${process.pid % 200}`;
const NAME = `tg${process.pid % 100_000}`;
const BRIDGE = `${NET}.1`;
const machine = (i: number) => `${NET}.${11 + i}`;
const moving = (i: number) => `${NET}.${101 + i}`;
const namespace = (i: number) => `${NAME}n${i}`;
const PORT = 5060;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const ip = (line: string) => run("ip", "ip", line.split(" "));

/** Why there is no network of namespaces here; undefined: there is, and `closers` takes it away. */
async function network(size: number): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "network namespaces take root";
  if (!isInstalled("ip")) return "ip is not installed (Debian: apt-get install iproute2)";
  try {
    await ip(`link add ${NAME} type bridge`);
    closers.push(() => ip(`link del ${NAME}`));
    await ip(`addr add ${BRIDGE}/24 dev ${NAME}`);
    await ip(`link set ${NAME} up`);
    for (let i = 0; i < size; i++) {
      await ip(`netns add ${namespace(i)}`);
      closers.push(() => ip(`netns del ${namespace(i)}`));
      await ip(`link add ${NAME}v${i} type veth peer name eth0 netns ${namespace(i)}`);
      await ip(`link set ${NAME}v${i} master ${NAME} up`);
      await ip(`-n ${namespace(i)} addr add ${machine(i)}/24 dev eth0`);
      await ip(`-n ${namespace(i)} link set eth0 up`);
      await ip(`-n ${namespace(i)} link set lo up`);
      await ip(`netns exec ${namespace(i)} sysctl -qw net.ipv4.ip_nonlocal_bind=1`);
    }
  } catch (error) {
    return `no network namespaces here: ${(error as Error).message}`;
  }
  return undefined;
}

/** ops/cluster/keepalived.conf of the machine with that number, of two. */
async function configOf(i: number, controlSocket: string): Promise<string> {
  const text = await readFile(join(ROOT, "ops/cluster/keepalived.conf"), "utf8");
  const here = text
    .replaceAll("10.0.0.", `${NET}.`)
    .replaceAll("/etc/keepalived/tollgate-address.sh", join(ROOT, "ops/cluster/address.sh"))
    .replace("/var/lib/tollgate/data/control.sock", controlSocket)
    .replace("  enable_script_security\n", ""); // it wants all folders above the script to be root's
  if (i === 0) return here;
  const swapped: Readonly<Record<string, string>> = { 11: "12", 12: "11" };
  return here
    .replace(/(unicast_\w+ (?:\{ )?[\d.]+\.)(11|12)\b/g, (_, head: string, last: string) => head + swapped[last])
    .replace(/priority (\d+)/g, (_, priority: string) => `priority ${300 - Number(priority)}`)
    .replace("tollgate-1", "tollgate-2");
}

describe("an address for each node, which a survivor takes over by keepalived (P3)", () => {
  it("is where ends that know no UPDATE go on with a session whose node was killed", {
    timeout: 90_000,
  }, async ({ skip }) => {
    const missing = withoutCluster("keepalived", "curl") ?? (await network(2));
    skip(missing !== undefined, missing);
    let to = moving(0);
    const node = () => ({ address: to, port: PORT });
    const [client, server] = [await UdpPeer.open(node, BRIDGE), await UdpPeer.open(node, BRIDGE)];
    closers.push(() => Promise.all([client.close(), server.close()]));
    const addresses = (i: number) => [moving(i), moving(1 - i)]; // its own first
    const nodes = await startNodes(
      {
        size: 2,
        at: BRIDGE,
        prefix: (i) => ["ip", "netns", "exec", namespace(i)],
        config: (i) => ({
          listen: addresses(i).flatMap((address) => [`udp:${address}:${PORT}`, `tcp:${address}:${PORT}`]),
          cluster: { zone: "ab"[i], address: machine(i) },
          tariffs: [{ id: "t", currency: "EUR", price: "0.60" }],
          services: [{ id: "wine", tariff: "t" }],
          appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
        }),
      },
      closers,
    );
    const folder = await mkdtemp(join(tmpdir(), "tollgate-keepalived-"));
    closers.push(() => rm(folder, { recursive: true, force: true }));
    for (const [i, one] of nodes.entries()) {
      const file = join(folder, `${i}.conf`);
      await writeFile(file, await configOf(i, join(one.folder, "data/control.sock")));
      const pids = ["-p", "-r", "-c"].flatMap((flag) => [flag, join(folder, `${i}${flag}.pid`)]);
      const args = ["netns", "exec", namespace(i), "keepalived", "-n", "-l", "-P", "-f", file, ...pids];
      const keepalived = await start("keepalived", "ip", args);
      closers.push(() => keepalived.stop());
    }
    const isAt = async (address: string, i: number) =>
      (await ip(`-n ${namespace(i)} -4 addr show dev eth0`)).includes(`${address}/32`);
    for (const i of [0, 1]) await until(() => isAt(moving(i), i));

    const call = await establish(client, server, "wine");
    expect(client.heardFrom).toBe(moving(0));
    expect(call.answer.headers.get("contact")).toContain(moving(0));
    expect(call.inviteAtServer.headers.get("contact")).toContain(moving(0));
    expect(call.inviteAtServer.via!.host).toBe(moving(0));
    const startedAt = Date.now();
    for (const peer of [client, server]) knowsNoUpdate(peer);
    server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1, chargeOf("before"));
    await server.nextResponse(200);

    await nodes[0]!.kill();
    await until(() => isAt(moving(0), 1));
    server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 2, chargeOf("after"));
    await server.nextResponse(200);
    expect(server.heardFrom).toBe(moving(0));
    const again = client.inDialog("INVITE", call.invite, call.answer, 3, { body: "v=2" });
    server.answer(await server.nextRequest("INVITE"), 200, { body: "v=3" });
    const answer = await client.nextResponse(200);
    expect(client.heardFrom).toBe(moving(0));
    client.ack(again, answer);
    await server.nextRequest("ACK");
    const endedAt = Date.now();
    server.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 3);
    to = moving(1); // the client answers by the Via of what it is asked
    client.answer(await client.nextRequest("BYE"), 200);
    await server.nextResponse(200);
    const [session] = await billed(nodes[1]!, 1);
    expect(session!.items.map(({ item }) => item).sort()).toEqual(["after", "before"]);
    expect(Math.abs(session!.time!.durationMs - (endedAt - startedAt))).toBeLessThan(2_000);

    // The node comes back, and gets its address back.
    await nodes[0]!.start();
    await until(async () => (await isAt(moving(0), 0)) && !(await isAt(moving(0), 1)));
  });
});
