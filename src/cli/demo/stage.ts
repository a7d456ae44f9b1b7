import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Tariff } from "../../charging/tariff.ts";
import { configSchema } from "../../config/schema.ts";
import { registerUser } from "../../directory/users.ts";
import { startRelay } from "../../relay/relay.ts";
import { type AppServer, type Client, createClient } from "../../sdk/index.ts";
import type { SipMessage } from "../../sip/message.ts";
import { createLogger } from "../../support/logger.ts";
import { systemRandom } from "../../support/random.ts";
import { withStore } from "../context.ts";
import { startSchool } from "./school.ts";
import { startWineShop } from "./wine-shop.ts";

export const DOMAIN = "portal.example";

/** Half a second of every begun one counts: short enough for a lesson of two seconds to show on the bill. */
export const LESSON_TARIFF = {
  id: "lesson",
  currency: "EUR",
  setupFee: "0.25",
  price: "0.10",
  incrementS: 0.5,
} satisfies Tariff;

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
  readonly shop: AppServer;
  readonly school: AppServer;
  /** A client who knows the password. */
  readonly alice: Client;
  readonly user: string;
  /** One who guesses. */
  readonly stranger: Client;
  /** Warnings and errors that the relay has logged. */
  readonly log: readonly string[];
  /** Stops the relay, so that everything is billed, and hands over its data folder; the rest goes on. */
  finish(): Promise<string>;
  /** Stops whatever still runs and removes the data. */
  close(): Promise<void>;
}

/** Starts a relay, two app servers and two clients. When one of them cannot start, none is left running. */
export async function setStage(tap: (event: Tapped) => void): Promise<Stage> {
  const closers: (() => Promise<unknown>)[] = [];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const data = await mkdtemp(join(tmpdir(), "tollgate-demo-"));
    closers.push(() => rm(data, { recursive: true, force: true }));
    const shop = await startWineShop();
    closers.push(() => shop.close());
    const school = await startSchool();
    closers.push(() => school.close());

    const config = configOf(data, shop.sip, school);
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
    const running = await startRelay({ config, log: logger, tap });
    let stopped: Promise<void> | undefined;
    const stop = () => {
      stopped ??= running.close({ drainMs: 0 });
      return stopped;
    };
    closers.push(stop);

    const address = running.addresses.find(({ transport }) => transport === "tcp");
    if (!address) throw new Error("the relay does not listen on TCP");
    const relay = `sip:127.0.0.1:${address.port};transport=tcp`;
    const alice = createClient({ relay, user, password, domain: DOMAIN });
    closers.push(() => alice.close());
    const stranger = createClient({ relay, user, password: systemRandom.token(), domain: DOMAIN });
    closers.push(() => stranger.close());

    const finish = async () => {
      await Promise.all([alice.close(), stranger.close()]);
      await stop();
      return data;
    };
    return { relay, shop: shop.sip, school, alice, user, stranger, log, finish, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What would otherwise stand in tollgate.yaml. */
export function configOf(data: string, shop: AppServer, school: AppServer) {
  return configSchema.parse({
    portal: { domain: DOMAIN },
    listen: [{ transport: "tcp", address: "127.0.0.1", port: 0 }],
    data,
    tariffs: [LESSON_TARIFF],
    services: [
      { id: "wine", title: "Wine shop", limits: { session: "500", currency: "EUR" } },
      { id: "english", title: "English lesson", tariff: LESSON_TARIFF.id },
    ],
    appServers: [
      { id: "wine-shop", uri: shop.uri, services: ["wine"] },
      { id: "school", uri: school.uri, services: ["english"] },
    ],
    health: { intervalS: 0 },
  });
}
