import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { Entry } from "../../src/charging/billing/store.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { withStore } from "../../src/cli/context.ts";
import { type Config, configSchema } from "../../src/config/schema.ts";
import { registerUser } from "../../src/directory/users.ts";
import { type MongoServer, startMongo } from "../support/mongo-server.ts";
import { type NatsServer, startNats } from "../support/nats-server.ts";
import { freePort, type Peer, run, start } from "../support/peers.ts";
import { COMMAND, nodeFlags } from "../support/project.ts";

/** A relay and a billing worker as processes of their own, on a real nats-server and MongoDB (or its stand-in). */
export interface Cluster {
  readonly nats: NatsServer;
  readonly mongo: MongoServer;
  readonly sip: number;
  readonly http: number;
  /** What the app server signs in with for direct charges. */
  readonly bearer: string;
  /** The relay's data folder. */
  readonly data: string;
  killRelay(): Promise<void>;
  startRelay(): Promise<void>;
  killBilling(): Promise<void>;
  startBilling(): Promise<void>;
  /** Resolves when everything that the relay has to put on record is, and every event of its journal is billed. */
  drained(withinMs: number): Promise<void>;
  /** Everything on alice's bill of this month and the one before. */
  entries(): Promise<Entry[]>;
  /** The relay's and the worker's last words. */
  output(): string;
  destroy(): Promise<void>;
}

export interface ClusterOptions {
  readonly appServerPort: number;
  /** In place of a temporary folder. */
  readonly data?: string;
}

export async function startCluster({ appServerPort, data: given }: ClusterOptions): Promise<Cluster> {
  const closers: (() => unknown)[] = [];
  const destroy = async () => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    const folder = mkdtempSync(join(tmpdir(), "tollgate-faults-"));
    closers.push(() => rmSync(folder, { recursive: true, force: true }));
    const data = given ?? join(folder, "relay");
    mkdirSync(data, { recursive: true });
    const nats = await startNats();
    closers.push(() => nats.destroy());
    const mongo = await startMongo();
    closers.push(() => mongo.stop());
    const [sip, http] = [await freePort(), await freePort()];
    const files = { relay: join(folder, "relay.yaml"), billing: join(folder, "billing.yaml") };
    const secretFile = join(folder, "event-secret");
    writeFileSync(secretFile, "what relays sign events with: any 32 characters\n", { mode: 0o600 });
    const common = { ...commonConfig(mongo, sip, appServerPort), bus: { servers: nats.url, secretFile } };
    writeFileSync(
      files.relay,
      JSON.stringify({ ...common, data, roles: ["relay"], http: { listen: `127.0.0.1:${http}` } }),
    );
    writeFileSync(files.billing, JSON.stringify({ ...common, data: join(folder, "billing"), roles: ["billing"] }));
    const config: Config = configSchema.parse({ ...common, data });
    await withStore(config, (store) =>
      registerUser(store, { id: "alice", realm: config.portal.realm, password: "secret", md5: true }),
    );
    const key = await run("key", process.execPath, [
      COMMAND,
      "appserver",
      "key",
      "add",
      "shop",
      "--json",
      "--config",
      files.relay,
    ]);
    const { bearer } = JSON.parse(key) as { bearer: string };

    const launch = async (role: keyof typeof files, ready: RegExp): Promise<Peer> => {
      const peer = await start(role, process.execPath, [...nodeFlags(), COMMAND, "start", "--config", files[role]]);
      await peer.says(ready, 30_000);
      return peer;
    };
    const startRelay = () => launch("relay", /relay started/);
    const startBilling = () => launch("billing", /billing worker started/);
    let relay = await startRelay();
    closers.push(() => relay.stop());
    let billing = await startBilling();
    closers.push(() => billing.stop());
    const kill = async (peer: Peer) => {
      peer.child.kill("SIGKILL");
      await peer.exit;
    };
    return {
      nats,
      mongo,
      sip,
      http,
      bearer,
      data,
      killRelay: () => kill(relay),
      startRelay: async () => {
        relay = await startRelay();
      },
      killBilling: () => kill(billing),
      startBilling: async () => {
        billing = await startBilling();
      },
      drained: (withinMs) => drained(nats.url, http, withinMs),
      entries: () => withStore(config, (store) => everyEntry(store.billing)),
      output: () =>
        `--- relay ---\n${relay.output().slice(-3_000)}\n--- billing ---\n${billing.output().slice(-3_000)}`,
      destroy,
    };
  } catch (error) {
    await destroy();
    throw error;
  }
}

function commonConfig(mongo: MongoServer, sip: number, appServerPort: number) {
  return {
    portal: { domain: "portal.example" },
    listen: [`udp:127.0.0.1:${sip}`],
    store: { url: mongo.url(`faults_${process.pid}_${sip}`), timeoutS: 3 },
    authentication: { fromPassword: "always" }, // so that a call is one INVITE
    tariffs: [{ id: "minute", currency: "EUR", price: "0.10" }],
    services: [{ id: "wine", tariff: "minute" }],
    charging: { limits: [{ currency: "EUR", session: "1000000", day: "1000000000" }] }, // it is all one user's
    appServers: [{ id: "shop", uri: `sip:127.0.0.1:${appServerPort}`, services: ["wine"] }],
    session: { probeS: 5 },
    health: { intervalS: 0 },
    limits: { perSourcePerSecond: 0 },
    recovery: "end",
    log: { level: "info", pretty: false },
    drainS: 0,
  };
}

/**
 * Polls what the relay could not put on record yet, its journal, then the stream's consumer: all are to have nothing
 * left.
 */
async function drained(natsUrl: string, http: number, withinMs: number): Promise<void> {
  const until = Date.now() + withinMs;
  let last = "";
  for (let quiet = 0; quiet < 2; ) {
    if (Date.now() > until) throw new Error(`not drained in ${withinMs} ms: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
    try {
      const metrics = await (await fetch(`http://127.0.0.1:${http}/metrics`)).text();
      const gauge = (name: string) =>
        Number(new RegExp(`^tollgate_${name} (\\d+)$`, "m").exec(metrics)?.[1] ?? Number.NaN);
      const [later, pending] = [gauge("records_waiting"), gauge("journal_pending_events")];
      const waiting = later + pending === 0 ? await unbilled(natsUrl) : Number.NaN;
      last = `${later} records to be made, ${pending} events in the journal, ${waiting} on the bus`;
      quiet = waiting === 0 ? quiet + 1 : 0;
    } catch (error) {
      last = (error as Error).message;
      quiet = 0;
    }
  }
}

async function unbilled(url: string): Promise<number> {
  const connection = await connect({ servers: [url], reconnect: false, timeout: 2_000 });
  try {
    const manager = await jetstreamManager(connection);
    const { num_pending, num_ack_pending } = await manager.consumers.info("TOLLGATE", "billing");
    return num_pending + num_ack_pending;
  } finally {
    await connection.close();
  }
}

async function everyEntry(billing: Parameters<Parameters<typeof withStore>[1]>[0]["billing"]): Promise<Entry[]> {
  const months = new Set([monthOf(Date.now()), monthOf(Date.now() - 3_600_000)]);
  const all: Entry[] = [];
  for (const month of months) {
    for (let after: string | undefined; ; ) {
      const page = await billing.entries("alice", month, { after, limit: 5_000 });
      all.push(...page.entries);
      after = page.next;
      if (after === undefined) break;
    }
  }
  return all;
}
