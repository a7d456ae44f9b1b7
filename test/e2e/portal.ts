import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { type Bill, makeBill } from "../../src/charging/bills/bill.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { withStore } from "../../src/cli/context.ts";
import { type Config, configSchema } from "../../src/config/schema.ts";
import { registerUser } from "../../src/directory/users.ts";
import { type Relay, startRelay } from "../../src/node/relay.ts";
import type { Store } from "../../src/store/types.ts";
import type { Logger } from "../../src/support/log.ts";

export const DOMAIN = "portal.example";
export const USER = "alice";
export const PASSWORD = "correct horse";

export interface PortalOptions {
  /** Sections of the configuration; services, app servers and whatever the test is about. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Default 127.0.0.1. */
  readonly address?: string;
  /** What else is registered beside alice. */
  readonly prepare?: (store: Store) => Promise<unknown>;
}

/** A whole relay on real sockets and a data folder of its own, in this process, with user alice registered. */
export interface Portal {
  readonly relay: Relay;
  readonly config: Config;
  readonly logger: Logger;
  /** Ports that it listens on. */
  readonly udp: number;
  readonly tcp: number;
  /** For the SDK's client. */
  readonly uri: string;
  /** Everything that it has logged, as JSON lines. */
  log(): string;
  /** Changes the store beside the relay, as a command does. */
  change(fn: (store: Store) => Promise<unknown>): Promise<unknown>;
  /** Stops the relay, so that everything is billed; resolves to alice's bill. */
  bill(): Promise<Bill>;
  close(): Promise<void>;
}

export async function openPortal({ config, address = "127.0.0.1", prepare }: PortalOptions): Promise<Portal> {
  const startedAt = Date.now();
  const data = await mkdtemp(join(tmpdir(), "tollgate-e2e-"));
  const settings = configSchema.parse({
    portal: { domain: DOMAIN },
    listen: ["udp", "tcp"].map((transport) => ({ transport, address, port: 0 })),
    data,
    health: { intervalS: 0 },
    session: { probeS: 0 },
    ...config,
  });
  await withStore(settings, async (store) => {
    await registerUser(store, { id: USER, realm: settings.portal.realm, password: PASSWORD, md5: true });
    await prepare?.(store);
  });
  let log = "";
  const write = (line: string) => {
    log += line;
  };
  const logger = pino({ level: "debug" }, { write });
  const relay = await startRelay({ config: settings, log: logger });
  const port = (transport: string) => relay.addresses.find((one) => one.transport === transport)?.port ?? 0;
  const host = address.includes(":") ? `[${address}]` : address;
  const stop = () => relay.close({ drainMs: 0 });
  return {
    relay,
    config: settings,
    logger,
    udp: port("udp"),
    tcp: port("tcp"),
    uri: `sip:${host}:${port("tcp")};transport=tcp`,
    log: () => log,
    change: (fn) => withStore(settings, fn),
    async bill() {
      await stop();
      return withStore(settings, (store) => makeBill(store, USER, monthOf(startedAt)));
    },
    async close() {
      await stop();
      await rm(data, { recursive: true, force: true });
    },
  };
}

/** What a bill says, a line for each session's time and for each thing sold: what tests compare. */
export const lines = (bill: Bill): string[] =>
  bill.services.flatMap(({ service, sessions }) =>
    sessions.flatMap(({ time, items }) => [
      ...(time ? [`${service}, ended by ${time.endedBy}: ${time.amount} ${time.currency}`.trimEnd()] : []),
      ...items.map((one) => `${one.quantity} x ${one.item} by ${one.channel}: ${one.amount} ${one.currency}`),
    ]),
  );
