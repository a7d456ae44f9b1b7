import { join } from "node:path";
import { connect } from "@nats-io/transport-node";
import { type NatsServer, startNats } from "../support/nats-server.ts";
import { freePort, type Peer, start } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";

/* What the nodes stand on: NATS servers in one cluster, and a way to them for each node that can be cut. */

/** One of several NATS servers, which can be cut off from the others. Its clients stay with it. */
export interface RoutedNats extends NatsServer {
  cut(): void;
  mend(): void;
}

/**
 * NATS servers with JetStream, as one cluster. They tell clients nothing of each other, so that a node uses its own
 * ways. Between two of them all routes lead over one process.
 */
export async function startNatsServers(many: number): Promise<RoutedNats[]> {
  const ports: number[] = [];
  for (let i = 0; i < many; i++) ports.push(await freePort());
  const routes: { readonly from: number; readonly to: number; readonly link: Link }[] = [];
  for (let from = 0; from < many; from++)
    for (let to = from + 1; to < many; to++)
      routes.push({ from, to, link: await openLink([{ port: ports[to]! }, { port: ports[from]! }]) });
  const config = (i: number) =>
    many === 1
      ? ""
      : `server_name: n${i}
cluster { name: chaos, listen: "127.0.0.1:${ports[i]}", no_advertise: true
  routes: [${routes.flatMap(({ from, to, link: { urls } }) => (from === i ? [urls[0]] : to === i ? [urls[1]] : [])).join(", ")}] }`;
  const servers = await Promise.all(ports.map((_, i) => startNats({ config: config(i) })));
  await jetStreamIsThere(servers[0]!.url);
  return servers.map((server, i) => {
    const own = routes.filter(({ from, to }) => from === i || to === i).map(({ link }) => link);
    const destroy = async () => {
      for (const link of own) await link.stop();
      await server.destroy();
    };
    const cut = () => own.forEach((link) => void link.cut());
    const mend = () => own.forEach((link) => void link.mend());
    return Object.assign(Object.create(server) as NatsServer, { destroy, cut, mend });
  });
}

/** Resolves when the servers have chosen who leads. */
async function jetStreamIsThere(url: string): Promise<void> {
  const connection = await connect({ servers: [url] });
  try {
    for (let tries = 0; tries < 300; tries++) {
      const answer = await connection.request("$JS.API.INFO", "", { timeout: 1_000 }).catch(() => undefined);
      if (answer && !answer.string().includes('"error"')) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error("JetStream has no leader after 30 s");
  } finally {
    await connection.close();
  }
}

/** One node's way to all NATS servers. */
export interface Link {
  readonly urls: readonly string[];
  /** From now on nothing passes, until `mend`. */
  cut(): void;
  mend(): void;
  stop(): Promise<unknown>;
}

export async function openLink(to: readonly Pick<NatsServer, "port">[]): Promise<Link> {
  const ports: number[] = [];
  for (const _ of to) ports.push(await freePort());
  const ways = to.map(({ port }, i) => `${ports[i]}:${port}`);
  const peer: Peer = await start("link", process.execPath, [join(ROOT, "test/chaos/link.mjs"), ...ways]);
  await peer.says(/link open/);
  return {
    urls: ports.map((port) => `nats://127.0.0.1:${port}`),
    cut: () => void peer.child.kill("SIGSTOP"),
    mend: () => void peer.child.kill("SIGCONT"),
    stop: () => {
      peer.child.kill("SIGCONT");
      return peer.stop();
    },
  };
}
