import { setTimeout as pause } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { MongoClient } from "mongodb";
import { connectionOptions } from "../../bus/nats-options.ts";
import type { Config } from "../../config/schema.ts";
import { type BillingNode, startBillingNode } from "../../node/billing-worker.ts";
import type { Logger } from "../../support/log.ts";
import { systemRandom } from "../../support/random.ts";
import { type DemoServer, mongoServer, natsServer } from "./servers.ts";

/** What a relay of the demo shares with a billing worker: events go over NATS JetStream, bills lie in MongoDB. */
export interface Cluster {
  /** For people: which servers. */
  readonly names: readonly string[];
  /** Part of the configuration. Only this run uses its stream, subjects and database. */
  readonly settings: { readonly bus: object; readonly store: string };
  /** Starts the billing worker: a consumer of its own, by the same configuration. */
  startBilling(config: Config, log: Logger): Promise<void>;
  /** Resolves when the worker has billed all that was published. */
  billed(): Promise<void>;
  /** Removes what this run has left in the servers, and ends the servers that it started. */
  close(): Promise<void>;
}

const POLL_MS = 20;

/** Finds or starts the servers. If one is missing, rejects with its name and leaves none running. */
export async function openCluster(env: NodeJS.ProcessEnv): Promise<Cluster> {
  const servers: DemoServer[] = [];
  const stopServers = () => {
    for (const server of servers) server.stop();
  };
  try {
    const nats = await natsServer(env);
    servers.push(nats);
    const mongo = await mongoServer(env);
    servers.push(mongo);
    return clusterOn(nats, mongo, stopServers, env);
  } catch (error) {
    stopServers();
    throw error;
  }
}

function clusterOn(nats: DemoServer, mongo: DemoServer, stopServers: () => void, env: NodeJS.ProcessEnv): Cluster {
  const run = systemRandom.token(32);
  const stream = `TOLLGATE_DEMO_${run}`;
  const bus = { servers: [nats.url], stream, prefix: `tollgate-demo-${run}` };
  const store = withDatabase(mongo.url, `tollgate_demo_${run}`);
  let settings: NonNullable<Config["bus"]> | undefined;
  let node: BillingNode | undefined;
  const manage = async <T>(use: (manager: Awaited<ReturnType<typeof jetstreamManager>>) => Promise<T>): Promise<T> => {
    const connection = await connect({ ...connectionOptions(settings!, env), maxReconnectAttempts: 0 });
    try {
      return await use(await jetstreamManager(connection));
    } finally {
      await connection.close();
    }
  };
  const removeStreams = () =>
    manage(async ({ streams }) => {
      for (const name of [stream, `${stream}_DEAD`, `${stream}_WITNESS`]) await streams.delete(name).catch(() => false);
    });
  return {
    names: [nats.name, mongo.name],
    settings: { bus, store },
    async startBilling(config, log) {
      settings = config.bus;
      node = await startBillingNode({ config: { ...config, roles: ["billing"] }, log });
    },
    billed: () =>
      manage(async ({ consumers }) => {
        for (;;) {
          const { num_pending, num_ack_pending } = await consumers.info(stream, "billing");
          if (num_pending + num_ack_pending === 0) return;
          await pause(POLL_MS);
        }
      }),
    async close() {
      try {
        await node?.close();
        if (settings) await removeStreams();
        if (node) await dropDatabase(store);
      } finally {
        stopServers();
      }
    },
  };
}

/** That URL with another database in it. The sign-in still goes to the database that the URL named before. */
export function withDatabase(url: string, database: string): string {
  const [, before = url, named = "", query = ""] = /^([^/]+:\/\/[^/?]+)(?:\/([^?]*))?(\?.*)?$/.exec(url) ?? [];
  if (!before.includes("@") || /[?&]authSource=/i.test(query)) return `${before}/${database}${query}`;
  return `${before}/${database}${query === "" ? "?" : `${query}&`}authSource=${named === "" ? "admin" : named}`;
}

async function dropDatabase(url: string): Promise<void> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 2_000 });
  try {
    await client.db().dropDatabase();
  } finally {
    await client.close();
  }
}
