import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { withStore } from "../../src/cli/context.ts";
import { configSchema } from "../../src/config/schema.ts";
import { newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { registerUser } from "../../src/directory/users.ts";
import { startBillingNode } from "../../src/node/billing-worker.ts";
import { type Relay, startRelay } from "../../src/node/relay.ts";
import { type AppSession, createClient, serve } from "../../src/sdk/index.ts";
import { systemRandom } from "../../src/support/random.ts";
import { temporaryFolder } from "../console/http-lab.ts";
import { mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { freePort } from "../support/peers.ts";
import { until } from "../support/until.ts";
import { DOMAIN, lines, PASSWORD, USER } from "./portal.ts";

/*
 * Two relays and a billing worker on NATS and MongoDB: a session's charges are asked for at the one that has it, at the
 * other, and when one of them is gone.
 */

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const log = pino({ level: "silent" });

async function cluster() {
  const folder = temporaryFolder();
  closers.push(() => folder.remove());
  const nats = await startNats();
  closers.push(() => nats.destroy());
  const mongo = await startMongo();
  closers.push(() => mongo.stop());
  const startedAt = Date.now();
  const { key, secret } = newAppServerKey({
    appServer: "shop",
    portalRealm: DOMAIN,
    md5: true,
    now: startedAt,
    random: systemRandom,
  });
  const sessions: AppSession[] = [];
  const shop = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    services: {
      wine: async (request) => sessions.push(await request.accept()),
      beer: async (request) => sessions.push(await request.accept()),
    },
    charging: { key: key.id, secret },
  });
  closers.push(() => shop.close());
  const configOf = async (name: string, roles: string[]) => {
    const config = configSchema.parse({
      portal: { domain: DOMAIN },
      listen: [`tcp:127.0.0.1:${await freePort()}`],
      data: join(folder.path, name),
      bus: nats.url,
      store: { url: mongo.url(`one_book_${process.pid}`), timeoutS: 3 },
      roles,
      health: { intervalS: 0 },
      services: [
        { id: "wine", limits: { session: "60", currency: "EUR" } },
        { id: "beer", lateChargesS: 0 },
      ],
      appServers: [{ id: "shop", uri: shop.uri, services: ["wine", "beer"] }],
    });
    mkdirSync(config.data, { recursive: true });
    return config;
  };
  const configs = { one: await configOf("one", ["relay"]), two: await configOf("two", ["relay"]) };
  await withStore(configs.one, async (store) => {
    await registerUser(store, { id: USER, realm: DOMAIN, password: PASSWORD, md5: true });
    await store.appServerKeys.put(key);
  });
  return {
    startedAt,
    store: configs.one,
    async relay(name: "one" | "two") {
      const relay = await startRelay({ config: configs[name], log });
      closers.push(() => relay.close({ drainMs: 0 }));
      return relay;
    },
    async worker() {
      const worker = await startBillingNode({ config: await configOf("worker", ["billing"]), log });
      let open = true;
      const close = async () => {
        if (open) await worker.close();
        open = false;
      };
      closers.push(close);
      return { close };
    },
    /** A session at this relay, as the shop has it, and how its client ends it. */
    async session(relay: Relay, service: string) {
      const { port } = relay.addresses[0]!;
      const alice = createClient({
        relay: `sip:127.0.0.1:${port};transport=tcp`,
        user: USER,
        password: PASSWORD,
        domain: DOMAIN,
      });
      const count = sessions.length;
      const mine = await alice.request(service);
      await until(() => sessions.length > count);
      const at = sessions.at(-1)!;
      const end = async () => {
        await mine.end();
        await alice.close();
        await at.ended;
      };
      return { id: at.tollgateSession!, at, end };
    },
  };
}

const bottle = (id: string, unitPrice = "24.50") => ({ id, item: "Rioja", unitPrice, currency: "EUR" });

/** What a relay says to a charge by HTTP or NATS. */
async function ask({ charging }: Relay, session: string, id: string, unitPrice?: string): Promise<string> {
  const charges = [{ ...bottle(id, unitPrice), quantity: "1" }];
  const outcome = await charging.direct.charge("shop", { session, charges, channel: "direct" });
  if (outcome.kind === "refused") return outcome.refusal.kind;
  return outcome.kind === "failed" && outcome.unknown ? "later" : outcome.kind;
}

/** Until billing has caught up. */
async function settled(relay: Relay, session: string, id: string, unitPrice?: string): Promise<string> {
  let said = "later";
  await until(async () => {
    said = await ask(relay, session, id, unitPrice);
    return said !== "later";
  });
  return said;
}

describe("one book for a session in a cluster (M15, M17, P3)", () => {
  it("is that of the relay which has it, whoever is asked; and the bill's, when it is gone and all is billed", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    skip(mongoKind() === undefined, NO_MONGO);
    const c = await cluster();
    const worker = await c.worker();
    const [one, two] = [await c.relay("one"), await c.relay("two")];
    const wine = await c.session(one, "wine");
    const beer = await c.session(one, "beer");

    expect(await wine.at.charge(bottle("c1"))).toEqual(["c1"]); // INFO; nothing of it is billed at this moment
    expect(await ask(two, wine.id, "c1", "9.00")).toBe("conflict");
    expect(await ask(two, wine.id, "c1", "24.5")).toBe("recorded");
    expect(await ask(two, wine.id, "c2")).toBe("recorded");
    expect(await ask(two, wine.id, "c3", "12")).toBe("terms"); // 49 so far
    await expect(wine.at.charge(bottle("c3", "12"))).rejects.toMatchObject({ status: 403 });

    await worker.close(); // from here on nothing is billed
    await beer.end();
    await wine.end();
    expect(await ask(two, beer.id, "b1")).toBe("closed");
    expect(await ask(one, beer.id, "b1")).toBe("closed");
    expect(await ask(two, wine.id, "c2", "1")).toBe("conflict");
    expect(await ask(two, wine.id, "c4", "5")).toBe("recorded");

    await one.close({ drainMs: 0 });
    expect(await ask(two, wine.id, "c4", "1")).toBe("later");
    expect(await ask(two, beer.id, "b1")).toBe("later");
    const again = await c.relay("one");
    expect(await ask(again, wine.id, "c4", "1")).toBe("later");
    expect(await ask(two, wine.id, "c5", "1")).toBe("later"); // it is asked, and does not know either
    expect(await ask(two, wine.id.replace(/.$/, "x"), "c5")).toBe("later");

    await c.worker();
    expect(await settled(two, wine.id, "c4", "1")).toBe("conflict");
    expect(await ask(two, beer.id, "b1")).toBe("closed");
    expect(await ask(two, wine.id, "c5", "6.01")).toBe("terms");
    expect(await ask(two, wine.id, "c5", "6")).toBe("recorded");
    expect(await ask(again, wine.id, "c5", "1")).toBe("conflict");
    expect(await ask(two, wine.id.replace(/.$/, "x"), "c5")).toBe("unknown");

    await again.close({ drainMs: 0 });
    expect(await settled(two, wine.id, "c5", "6.00")).toBe("recorded");
    expect(await ask(two, wine.id, "c6", "0.01")).toBe("terms");
    await two.close({ drainMs: 0 });
    const bill = await withStore(c.store, (store) => makeBill(store, USER, monthOf(c.startedAt)));
    expect(lines(bill).filter((line) => line.includes("Rioja"))).toEqual([
      "1 x Rioja by info: 24.50 EUR",
      "1 x Rioja by direct: 24.50 EUR",
      "1 x Rioja by direct: 5.00 EUR",
      "1 x Rioja by direct: 6.00 EUR",
    ]);
  });
});
