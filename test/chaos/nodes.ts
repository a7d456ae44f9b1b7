import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { Entry } from "../../src/charging/billing/store.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { withStore } from "../../src/cli/context.ts";
import type { MemberView } from "../../src/cluster/member-view.ts";
import { type Config, configSchema } from "../../src/config/schema.ts";
import { registerUser } from "../../src/directory/users.ts";
import { type MongoServer, startMongo } from "../support/mongo-server.ts";
import { freePort, type Peer, run, start } from "../support/peers.ts";
import { COMMAND, nodeFlags } from "../support/project.ts";
import { type Link, openLink, type RoutedNats, startNatsServers } from "./servers.ts";

/** A relay or a billing worker as a process of its own that is killed, stopped and started again. */
export class NodeProcess {
  readonly name: string;
  readonly port: number;
  /** Of its HTTP API. */
  readonly http: number;
  readonly link: Link | undefined;
  private readonly file: string;
  private readonly ready: RegExp;
  /** The program of the release that this start takes. */
  private readonly release: () => string;
  private peer: Peer | undefined;
  /** A file to which all is added that its processes say. */
  log: string | undefined;
  /** What all its processes have said that an operator should read. */
  readonly complaints: string[] = [];
  /** Since when it is cut off; undefined: it is not. */
  cutAt: number | undefined;

  constructor(
    name: string,
    ports: { readonly sip: number; readonly http: number },
    file: string,
    ready: RegExp,
    release: () => string,
    link?: Link,
  ) {
    this.name = name;
    this.port = ports.sip;
    this.http = ports.http;
    this.file = file;
    this.ready = ready;
    this.release = release;
    this.link = link;
  }

  /** Starts it, and again where it ends at once: a relay does not start without MongoDB, and systemd tries again. */
  async start(): Promise<void> {
    const until = Date.now() + 60_000;
    for (;;) {
      try {
        return await this.startOnce();
      } catch (error) {
        if (Date.now() > until) throw error;
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  }

  private async startOnce(): Promise<void> {
    const peer = await start(this.name, process.execPath, [
      ...nodeFlags(),
      this.release(),
      "start",
      "--config",
      this.file,
    ]);
    this.peer = peer;
    const listen = (chunk: string) => {
      if (this.log !== undefined) appendFileSync(this.log, chunk);
      for (const line of chunk.split("\n"))
        if (/"level":"(error|fatal)"/.test(line) && this.complaints.length < 10_000) this.complaints.push(line);
    };
    peer.child.stdout!.on("data", listen);
    await peer.says(this.ready, 60_000);
  }

  async kill(): Promise<void> {
    this.peer?.child.kill("SIGKILL");
    await this.peer?.exit;
  }

  signal(name: NodeJS.Signals): void {
    this.peer!.child.kill(name);
  }

  /** Ends it by SIGTERM; resolves to how it ended. */
  async end(withinMs = 60_000): Promise<string> {
    const { code, signal } = await this.peer!.stop(withinMs);
    return String(signal ?? code);
  }

  async exited(): Promise<void> {
    await this.peer?.exit;
  }

  command(...args: readonly string[]): Promise<string> {
    return run(`tollgate ${args[0]}`, process.execPath, [COMMAND, ...args, "--config", this.file]);
  }

  async members(): Promise<MemberView[]> {
    return JSON.parse(await this.command("nodes", "--json")) as MemberView[];
  }

  /** A gauge or counter; NaN: there is none of that name. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.http}/metrics`)).text();
    return Number(new RegExp(`^tollgate_${name} (\\d+)$`, "m").exec(text)?.[1] ?? Number.NaN);
  }
}

/** All processes of a cluster. */
export interface Platform {
  readonly nodes: readonly NodeProcess[];
  readonly workers: readonly NodeProcess[];
  readonly nats: readonly RoutedNats[];
  readonly mongo: MongoServer;
  /** Resolves when every event is billed. */
  drained(withinMs: number, say: (line: string) => void): Promise<void>;
  /** What the bus and the dead letters have of these sessions, a line each: for whoever asks where something went. */
  kept(sessions: ReadonlySet<string>): Promise<string[]>;
  /** Everything on a user's bill of this month and the one before. */
  entries(user: string): Promise<Entry[]>;
  /** What is left of a balance, and how much of that is held; millionths. */
  balance(user: string): Promise<{ readonly available: number; readonly holds: number }>;
  destroy(): Promise<void>;
}

export interface PlatformOptions {
  readonly nodes: number;
  readonly nats: number;
  readonly workers: number;
  /** Whether nodes hear each other without NATS, too. */
  readonly direct: boolean;
  /** The program of the release that a process starts with, each time. */
  readonly release: () => string;
  /** A folder for what the processes say; undefined: it is not kept. */
  readonly logs?: string | undefined;
  readonly appServerPort: number;
  readonly postpaid: readonly string[];
  readonly prepaid: readonly string[];
  /** What each prepaid user has, decimal, EUR. */
  readonly balanceOf: (user: string) => string;
}

/** Not an address of this machine (RFC 5737): a node cannot hear beats there. */
const NOWHERE = "192.0.2.1";
export const PASSWORD = "secret";
export const DOMAIN = "portal.example";

export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const closers: (() => unknown)[] = [];
  const destroy = async () => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    if (options.logs !== undefined) mkdirSync(options.logs, { recursive: true });
    const folder = mkdtempSync(join(tmpdir(), "tollgate-chaos-"));
    closers.push(() => rmSync(folder, { recursive: true, force: true }));
    const nats = await startNatsServers(options.nats);
    closers.push(() => Promise.all(nats.map((server) => server.destroy())));
    const mongo = await startMongo();
    closers.push(() => mongo.stop());
    const secretFile = join(folder, "event-secret");
    writeFileSync(secretFile, "what relays sign events with: any 32 characters\n", { mode: 0o600 });
    const common = configOf(mongo, options);
    const bus = (servers: readonly string[]) => ({ servers, secretFile, replicas: options.nats });
    const config = configSchema.parse({ ...common, data: join(folder, "here") });
    await withStore(config, (store) => openUsers(store, config, options));
    const make = async (name: string, roles: readonly string[], more: Record<string, unknown>, link?: Link) => {
      const ports = { sip: await freePort(), http: await freePort() };
      const data = join(folder, name);
      mkdirSync(data);
      const file = join(folder, `${name}.yaml`);
      const listen = [`udp:127.0.0.1:${ports.sip}`, `tcp:127.0.0.1:${ports.sip}`];
      const http = { listen: `127.0.0.1:${ports.http}` };
      writeFileSync(file, JSON.stringify({ ...common, listen, http, data, roles, ...more })); // JSON is YAML
      const ready = roles.includes("relay") ? /relay started/ : /billing worker started/;
      const made = new NodeProcess(name, ports, file, ready, options.release, link);
      if (options.logs !== undefined) made.log = join(options.logs, `${name}.log`);
      return made;
    };
    const nodes: NodeProcess[] = [];
    for (let i = 0; i < options.nodes; i++) {
      const link = await openLink(nats);
      closers.push(() => link.stop());
      nodes.push(
        await make(
          `node-${i}`,
          ["relay"],
          { bus: bus(link.urls), cluster: { zone: `z${i}`, ...(!options.direct && { address: NOWHERE }) } },
          link,
        ),
      );
    }
    const workers: NodeProcess[] = [];
    const urls = nats.map(({ url }) => url);
    for (let i = 0; i < options.workers; i++) workers.push(await make(`worker-${i}`, ["billing"], { bus: bus(urls) }));
    closers.push(() => Promise.all([...nodes, ...workers].map((one) => one.kill())));
    for (const one of [...nodes, ...workers]) await one.start();
    return {
      ...{ nodes, workers, nats, mongo, destroy },
      drained: (withinMs, say) => drained(nodes, urls, withinMs, say),
      kept: async (sessions) => [
        ...(await onTheBus(urls, sessions)),
        ...(await withStore(config, async (store) => deadLettersOf(store.billing, sessions))),
      ],
      entries: (user) => withStore(config, (store) => everyEntry(store.billing, user)),
      balance: (user) =>
        withStore(config, async (store) => {
          const account = await store.credit!.account(user);
          return { available: account?.available ?? 0, holds: Object.keys(account?.holds ?? {}).length };
        }),
    };
  } catch (error) {
    await destroy();
    throw error;
  }
}

function configOf(mongo: MongoServer, { appServerPort }: PlatformOptions): Record<string, unknown> {
  return {
    portal: { domain: DOMAIN },
    store: { url: mongo.url(`chaos_${process.pid}_${appServerPort}`), timeoutS: 3 },
    authentication: { fromPassword: "always" }, // so that a call is one INVITE
    tariffs: [{ id: "minute", currency: "EUR", price: "0.10" }],
    services: [{ id: "wine", tariff: "minute" }],
    charging: { limits: [{ currency: "EUR", session: "1000000", day: "1000000000" }] },
    credit: { intervalS: 5, graceS: 10, reserveCharges: "1" },
    appServers: [{ id: "shop", uri: `sip:127.0.0.1:${appServerPort}`, services: ["wine"] }],
    session: { probeS: 5 },
    health: { intervalS: 0 },
    limits: { perSourcePerSecond: 0, perUnprovenSourcePerSecond: 0 },
    log: { level: "info", pretty: false },
    drainS: 30,
  };
}

const SAY_MS = 10_000;

type Store = Parameters<Parameters<typeof withStore>[1]>[0];

async function openUsers(
  store: Store,
  config: Config,
  { postpaid, prepaid, balanceOf }: PlatformOptions,
): Promise<void> {
  const common = { realm: config.portal.realm, password: PASSWORD, md5: true };
  for (const id of postpaid) await registerUser(store, { id, ...common });
  for (const id of prepaid) {
    await registerUser(store, { id, ...common, prepaid: { currency: "EUR" } });
    await store.credit!.open(id, "EUR");
    const amount = Math.round(Number(balanceOf(id)) * 1_000_000);
    await store.credit!.post({ user: id, kind: "topup", id: "first", currency: "EUR", amount, at: Date.now() });
  }
}

/**
 * Polls the nodes' journals and the stream's consumer: nothing is to be left, for a while. It waits as long as it
 * becomes less. `say` is told every ten seconds.
 */
async function drained(
  nodes: readonly NodeProcess[],
  urls: readonly string[],
  withinMs: number,
  say: (line: string) => void,
): Promise<void> {
  let until = Date.now() + withinMs;
  let sayAt = Date.now() + SAY_MS;
  let least = Number.POSITIVE_INFINITY;
  let last = "";
  for (let quiet = 0; quiet < 5; ) {
    if (Date.now() > until) throw new Error(`nothing more was billed for ${withinMs} ms: ${last}`);
    if (Date.now() > sayAt) {
      say(`to be billed: ${last}`);
      sayAt = Date.now() + SAY_MS;
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    try {
      let [later, pending] = [0, 0];
      for (const node of nodes) {
        later += await node.metric("records_waiting");
        pending += await node.metric("journal_pending_events");
      }
      const waiting = await unbilled(urls);
      last = `${later} records to be made, ${pending} events in journals, ${waiting} on the bus`;
      const left = later + pending + waiting;
      if (left < least) {
        least = left;
        until = Date.now() + withinMs;
      }
      quiet = left === 0 ? quiet + 1 : 0;
    } catch (error) {
      last = (error as Error).message;
      quiet = 0;
    }
  }
}

async function unbilled(urls: readonly string[]): Promise<number> {
  const connection = await connect({ servers: [...urls], reconnect: false, timeout: 2_000 });
  try {
    const manager = await jetstreamManager(connection);
    const { num_pending, num_ack_pending } = await manager.consumers.info("TOLLGATE", "billing");
    return num_pending + num_ack_pending;
  } finally {
    await connection.close();
  }
}

/** Reads the whole stream. */
async function onTheBus(urls: readonly string[], sessions: ReadonlySet<string>): Promise<string[]> {
  const connection = await connect({ servers: [...urls], reconnect: false, timeout: 2_000 });
  try {
    const { state } = await (await jetstreamManager(connection)).streams.info("TOLLGATE");
    const consumer = await jetstream(connection).consumers.get("TOLLGATE");
    const lines: string[] = [];
    for (let read = 0; read < state.messages; ) {
      const before = read;
      for await (const message of await consumer.fetch({ max_messages: 5_000, expires: 5_000 })) {
        read++;
        const { id, type, data } = message.json<{ id: string; type: string; data?: { session?: { id?: string } } }>();
        if (sessions.has(data?.session?.id ?? "")) lines.push(`on the bus, ${message.seq}: ${type} ${id}`);
      }
      if (read === before) return [...lines, `only ${read} of ${state.messages} events of the bus could be read`];
    }
    return lines;
  } finally {
    await connection.close();
  }
}

const MOST_LETTERS = 1_000;

async function deadLettersOf(billing: Store["billing"], sessions: ReadonlySet<string>): Promise<string[]> {
  const of = ({ event }: { readonly event: string }) => [...sessions].some((session) => event.includes(session));
  const letters = (await billing.deadLetters(MOST_LETTERS)).filter(of);
  return letters.map(({ reason, event }) => `dead letter: ${reason}: ${event.slice(0, 300)}`);
}

async function everyEntry(billing: Store["billing"], user: string): Promise<Entry[]> {
  const months = new Set([monthOf(Date.now()), monthOf(Date.now() - 3_600_000)]);
  const all: Entry[] = [];
  for (const month of months) {
    for (let after: string | undefined; ; ) {
      const page = await billing.entries(user, month, { after, limit: 5_000 });
      all.push(...page.entries);
      after = page.next;
      if (after === undefined) break;
    }
  }
  return all;
}
