import { createServer, connect as dial, type Socket } from "node:net";
import { type NatsServer, startNats } from "./nats-server.ts";
import { freePort } from "./peers.ts";

/** NATS servers in one cluster, whose ways to each other can be cut: then nothing passes, and nothing is refused. */
export interface NatsCluster {
  readonly servers: readonly NatsServer[];
  /** From now on these servers and the others do not hear each other. */
  split(alone: readonly number[]): void;
  heal(): void;
  destroy(): Promise<void>;
}

/** Starts them. Each goes to each other one by a way of its own. */
export async function startNatsCluster(many: number): Promise<NatsCluster> {
  const routes: number[] = [];
  for (let i = 0; i < many; i++) routes.push(await freePort());
  const ways: { readonly from: number; readonly to: number; cut(isCut: boolean): void; stop(): void }[] = [];
  const ports = new Map<string, number>();
  for (let from = 0; from < many; from++)
    for (let to = 0; to < many; to++) {
      if (to === from) continue;
      const way = await openWay(routes[to]!);
      ports.set(`${from} ${to}`, way.port);
      ways.push({ from, to, ...way });
    }
  const config = (i: number) => {
    const to = routes.flatMap((_, other) => (other !== i ? [`"nats://127.0.0.1:${ports.get(`${i} ${other}`)}"`] : []));
    // What servers tell each other of further servers leads nowhere, so that there are no ways but these.
    return `server_name: n${i}
cluster { name: split, listen: "127.0.0.1:${routes[i]}", no_advertise: true, advertise: "127.0.0.1:1"
  routes: [${to.join(", ")}] }`;
  };
  const servers = await Promise.all(routes.map((_, i) => startNats({ config: config(i) })));
  return {
    servers,
    split: (alone) => {
      for (const { from, to, cut } of ways) cut(alone.includes(from) !== alone.includes(to));
    },
    heal: () => {
      for (const { cut } of ways) cut(false);
    },
    destroy: async () => {
      for (const { stop } of ways) stop();
      await Promise.all(servers.map((server) => server.destroy()));
    },
  };
}

async function openWay(to: number): Promise<{ port: number; cut(isCut: boolean): void; stop(): void }> {
  const port = await freePort();
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer({ noDelay: true }, (near) => {
    const far = dial({ port: to, host: "127.0.0.1", noDelay: true });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on("data", (bytes) => other.write(bytes));
      one.on("error", () => other.destroy());
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
      if (isCut) one.pause();
    }
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    port,
    cut: (cut) => {
      isCut = cut;
      for (const socket of sockets) {
        if (cut) socket.pause();
        else socket.resume();
      }
    },
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
