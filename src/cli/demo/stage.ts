import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Tariff } from "../../charging/money/tariff.ts";
import { type Config, configSchema } from "../../config/schema.ts";
import { registerUser } from "../../directory/users.ts";
import { type Relay, startRelay } from "../../node/relay.ts";
import { type AppServer, type Client, createClient } from "../../sdk/index.ts";
import type { SipMessage } from "../../sip/message.ts";
import type { Logger } from "../../support/log.ts";
import { createLogger } from "../../support/logger.ts";
import { systemRandom } from "../../support/random.ts";
import { withStore } from "../context.ts";
import { cleanedUp } from "./cleanup.ts";
import type { Cluster } from "./cluster.ts";
import { startHouse } from "./house.ts";
import { startSchool } from "./school.ts";
import { startWineShop } from "./wine-shop.ts";

export const DOMAIN = "portal.example";

/** Time is charged by begun half seconds: short enough for a lesson of two seconds to show on the bill. */
export const LESSON_TARIFF = {
  id: "lesson",
  currency: "EUR",
  setupFee: "0.25",
  price: "0.10",
  incrementS: 0.5,
} satisfies Tariff;

/** Tariffs with a set-up fee only. (A visit that costs nothing is on the bill too.) */
const VISITS = [
  { id: "spirits", currency: "EUR", setupFee: "1.00" },
  { id: "tasting", currency: "EUR", setupFee: "0.50" },
  { id: "browsing", currency: "EUR", setupFee: "0.20" },
] satisfies Tariff[];

/** Who serves, by the id that the directory has. */
export const SERVES = {
  "wine-shop": ["wine", "grappa"],
  school: ["english", "spanish"],
  brewery: ["beer"],
  "north-books": ["books"],
  "south-books": ["books"],
} as const;

export type ServerId = keyof typeof SERVES;
export type Servers = Readonly<Record<ServerId, AppServer>>;

export interface Tapped {
  readonly direction: "in" | "out";
  /** `host:port` of the other side. */
  readonly peer: string;
  readonly message: SipMessage;
  readonly at: number;
}

/** Everything that takes part, running, on sockets of this machine. */
export interface Stage {
  readonly relay: string;
  /** Where a page reaches it; undefined: nowhere. */
  readonly webSocket: string | undefined;
  readonly servers: Servers;
  /** A client who knows the password. */
  readonly alice: Client;
  readonly user: string;
  readonly password: string;
  readonly config: Config;
  /** A client who guesses passwords. */
  readonly stranger: Client;
  /** Warnings and errors that the relay has logged. */
  readonly log: readonly string[];
  /** Ends the Spanish lesson, which is there in a cluster. */
  ringBell(): void;
  readonly running: Relay;
  readonly logger: Logger;
  /** Stops the relay, so that everything is billed, and hands over its configuration; the rest goes on. */
  finish(): Promise<Config>;
  /** Stops whatever still runs and removes the data. */
  close(): Promise<void>;
}

/**
 * Starts a relay, its app servers and two clients. With a cluster the relay only publishes, and a billing worker
 * bills; whoever opened the cluster closes it after the stage. When one of them cannot start, none is left running.
 * `forPages`: the relay takes SIP from pages, too.
 */
export async function setStage(
  tap: (event: Tapped) => void,
  cluster?: Cluster,
  forPages: "for pages" | undefined = undefined,
): Promise<Stage> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const data = await mkdtemp(join(tmpdir(), "tollgate-demo-"));
    const removeData = cleanedUp(() => rmSync(data, { recursive: true, force: true }));
    closers.push(async () => removeData());
    const keep = <T extends { close(): Promise<void> }>(started: T): T => {
      closers.push(() => started.close());
      return started;
    };
    const school = await startSchool();
    const servers: Servers = {
      "wine-shop": keep(await startWineShop()).sip,
      school: keep(school.sip),
      brewery: keep(await startHouse("beer", "Brewery")).sip,
      "north-books": keep(await startHouse("books", "North book shop")).sip,
      "south-books": keep(await startHouse("books", "South book shop")).sip,
    };

    const tcp = { transport: "tcp", address: "127.0.0.1", port: 0 };
    const config = configOf(data, servers, {
      ...(forPages && { listen: [tcp, { ...tcp, transport: "ws" }] }),
      ...(cluster && { ...cluster.settings, roles: ["relay"], drainS: 0 }),
    });
    const user = "alice";
    const password = systemRandom.token();
    await withStore(config, (store) =>
      registerUser(store, { id: user, realm: config.portal.realm, password, md5: true }),
    );
    const log: string[] = [];
    const logger = createLogger({
      level: "warn",
      pretty: true,
      to: { write: (line) => void (log.length < 100 && log.push(line.trimEnd())) },
    });
    await cluster?.startBilling(config, logger);
    const running = await startRelay({ config, log: logger, tap });
    let stopped: Promise<void> | undefined;
    const stop = () => {
      stopped ??= running.close({ drainMs: 0 });
      return stopped;
    };
    closers.push(stop);

    const portOf = (transport: string) => running.addresses.find((one) => one.transport === transport)?.port;
    const address = portOf("tcp");
    if (address === undefined) throw new Error("the relay does not listen on TCP");
    const relay = `sip:127.0.0.1:${address};transport=tcp`;
    const alice = keep(createClient({ relay, user, password, domain: DOMAIN }));
    const stranger = keep(createClient({ relay, user, password: systemRandom.token(), domain: DOMAIN }));

    const finish = async () => {
      await Promise.all([alice.close(), stranger.close()]);
      await stop();
      await cluster?.billed();
      return config;
    };
    const webSocket = forPages && `ws://127.0.0.1:${portOf("ws")}`;
    const shown = { running, config, logger };
    return {
      relay,
      webSocket,
      servers,
      alice,
      user,
      password,
      stranger,
      log,
      ringBell: school.ringBell,
      finish,
      close,
      ...shown,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What would stand in a tollgate.yaml. `more`: where events and bills go, if not into the data folder. */
export function configOf(data: string, servers: Servers, more: object = {}): Config {
  return configSchema.parse({
    portal: { domain: DOMAIN },
    listen: [{ transport: "tcp", address: "127.0.0.1", port: 0 }],
    data,
    tariffs: [LESSON_TARIFF, ...VISITS],
    services: [
      { id: "wine", title: "Wine shop", limits: { session: "500", currency: "EUR" } },
      { id: "grappa", tariff: "spirits" },
      { id: "english", title: "English lesson", tariff: LESSON_TARIFF.id },
      { id: "spanish", title: "Spanish lesson", tariff: LESSON_TARIFF.id },
      { id: "beer", tariff: "tasting" },
      { id: "books", tariff: "browsing", fork: "all" },
    ],
    appServers: Object.entries(servers).map(([id, { uri }]) => ({ id, uri, services: SERVES[id as ServerId] })),
    health: { intervalS: 0 },
    ...more,
  });
}
