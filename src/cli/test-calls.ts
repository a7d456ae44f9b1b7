import { setTimeout as pause } from "node:timers/promises";
import type { Tariff } from "../charging/money/tariff.ts";
import type { Config } from "../config/schema.ts";
import { registerUser } from "../directory/users.ts";
import type { Relay } from "../node/relay.ts";
import type { AppServer, Client, ServiceRequest } from "../sdk/index.ts";
import { systemRandom } from "../support/random.ts";

/** What is to happen in a test call. */
export interface TestCall {
  readonly scene: "charged" | "timed" | "busy" | "cancelled";
  readonly item: string;
  readonly unitPrice: string;
}

/** Names the user, the service, the tariff and the app server of test calls. */
export const TEST_ID = "tollgate-test";
const TARIFF: Tariff = { id: TEST_ID, currency: "EUR", setupFee: "0.20", price: "0.10", incrementS: 1 };
const MOST_AT_ONCE = 4;
const FOUND_MS = 3_000;
/** How long things are left so that one sees them happen. */
const BEAT_MS = 600;
const TIMED_MS = 2_000;
const KEPT_MS = 60_000;

interface Players {
  readonly server: AppServer;
  readonly client: Client;
}

/**
 * Calls that the relay places by itself, with a client and an app server of its own, over SIP on this machine. What
 * they need is registered with the first of them, and all but the user is removed when none was placed for a minute.
 */
export class TestCalls {
  private readonly config: Config;
  private readonly relay: Pick<Relay, "addresses" | "store" | "reload" | "watch">;
  private readonly log: (error: unknown) => void;
  private players: Promise<Players> | undefined;
  private underWay = 0;
  private idle: NodeJS.Timeout | undefined;

  constructor(
    config: Config,
    relay: Pick<Relay, "addresses" | "store" | "reload" | "watch">,
    log: (error: unknown) => void,
  ) {
    this.config = config;
    this.relay = relay;
    this.log = log;
  }

  /** Places one. Resolves to the id of its record, as soon as there is one; rejects where it cannot be placed. */
  async place(what: TestCall): Promise<string> {
    if (this.underWay >= MOST_AT_ONCE) throw new Error(`${MOST_AT_ONCE} test calls are under way: wait for one to end`);
    this.underWay++;
    clearTimeout(this.idle);
    const found = this.nextRecord();
    try {
      this.players ??= this.open();
      const { client } = await this.players.catch((error: unknown) => {
        this.players = undefined;
        throw error;
      });
      void this.play(client, what)
        .catch(this.log)
        .finally(() => this.done());
    } catch (error) {
      found.stop();
      this.done();
      throw error;
    }
    return found.id;
  }

  async close(): Promise<void> {
    clearTimeout(this.idle);
    const open = await this.players?.catch(() => undefined);
    this.players = undefined;
    if (!open) return;
    await open.client.close();
    await open.server.close();
    const { store } = this.relay;
    await store.appServers.remove(TEST_ID);
    await store.services.remove(TEST_ID);
  }

  private done(): void {
    this.underWay--;
    if (this.underWay > 0) return;
    this.idle = setTimeout(() => void this.close().catch(this.log), KEPT_MS);
    this.idle.unref();
  }

  /** The record of the next call of the test user. */
  private nextRecord(): { readonly id: Promise<string>; stop(): void } {
    let stop = () => {};
    const id = new Promise<string>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("the call has not come to the relay")), FOUND_MS);
      const end = this.relay.watch.watch({
        filter: { user: TEST_ID },
        see: ({ record }) => {
          if (record.hasEnded || seen.has(record)) return;
          seen.add(record);
          resolve(record.name);
          stop();
        },
      });
      stop = () => {
        clearTimeout(late);
        end();
      };
    });
    id.catch(() => stop());
    return { id, stop: () => stop() };
  }

  private async open(): Promise<Players> {
    const { config, relay } = this;
    const address = relay.addresses.find(({ transport }) => transport === "tcp");
    if (!address) throw new Error("a test call takes a relay that listens on TCP: see `listen` in the configuration");
    const { serve, createClient } = await import("../sdk/index.ts");
    const server = await serve({ listen: { host: "127.0.0.1", port: 0 }, services: { [TEST_ID]: answer } });
    const { store } = relay;
    const { realm, domains } = config.portal;
    const password = systemRandom.token();
    await store.tariffs.put(TARIFF);
    await store.services.put({ id: TEST_ID, title: "Test calls", tariff: TEST_ID } as never);
    await store.appServers.put({ id: TEST_ID, uri: server.uri, services: [TEST_ID] } as never);
    await registerUser(store, { id: TEST_ID, realm, password, md5: true });
    await relay.reload();
    const host = ["0.0.0.0", "::"].includes(address.address) ? "127.0.0.1" : address.address;
    const uri = `sip:${host.includes(":") ? `[${host}]` : host}:${address.port};transport=tcp`;
    return { server, client: createClient({ relay: uri, user: TEST_ID, password, domain: domains[0]! }) };
  }

  /** The client's part. */
  private async play(client: Client, what: TestCall): Promise<void> {
    const giveUp = new AbortController();
    if (what.scene === "cancelled") setTimeout(() => giveUp.abort(), 2 * BEAT_MS).unref();
    const request = client.request(TEST_ID, {
      description: JSON.stringify(what),
      contentType: "application/json",
      signal: giveUp.signal,
    });
    const session = await request.catch(() => undefined); // refused or given up, as it was meant
    if (!session) return;
    if (what.scene === "timed") {
      await pause(TIMED_MS);
      await session.end();
    }
    await session.ended;
  }
}

const seen = new WeakSet<object>();

/** The app server's part. */
async function answer(request: ServiceRequest): Promise<void> {
  const { scene, item, unitPrice } = JSON.parse(request.description?.content ?? "{}") as Partial<TestCall>;
  await pause(BEAT_MS);
  if (scene === "busy") return request.refuse(486, "Busy Here");
  if (scene === "cancelled") return pause(10 * BEAT_MS);
  const session = await request.accept({ url: "http://127.0.0.1/" });
  if (scene !== "charged") return;
  for (const quantity of [1, 2]) {
    await pause(BEAT_MS);
    await session.charge({ item: item ?? "item", unitPrice: unitPrice ?? "1.00", quantity, currency: "EUR" });
  }
  await pause(BEAT_MS);
  await session.end();
}
