import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { expect, it, onTestFinished } from "vitest";
import { balanceOf, fromMicros, micros } from "../../src/charging/credit/store.ts";
import { formatMoney, money } from "../../src/charging/money/money.ts";
import { withStore } from "../../src/cli/context.ts";
import { configSchema } from "../../src/config/schema.ts";
import { registerUser } from "../../src/directory/users.ts";
import { type Relay, startRelay } from "../../src/node/relay.ts";
import { temporaryFolder } from "../console/http-lab.ts";
import { mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { DOMAIN, PASSWORD, USER } from "./portal.ts";
import { UdpPeer } from "./udp-peer.ts";

const log = pino({ level: "silent" });

it("two relays on NATS and MongoDB let a prepaid user spend what there is, and no more, also at both in the same moment (P2, P3)", {
  timeout: 60_000,
}, async ({ skip }) => {
  skip(natsProgram === undefined, NO_NATS);
  skip(mongoKind() === undefined, NO_MONGO);
  const [folder, nats, mongo] = [temporaryFolder(), await startNats(), await startMongo()];
  const closers: (() => unknown)[] = [() => folder.remove(), () => nats.destroy(), () => mongo.stop()];
  onTestFinished(async () => {
    for (const close of closers.reverse()) await close();
  });
  let port = 0;
  const relayAt = () => ({ address: "127.0.0.1", port });
  const server = await UdpPeer.open(relayAt);
  closers.push(() => server.close());
  const configOf = (name: string) => {
    const config = configSchema.parse({
      portal: { domain: DOMAIN },
      listen: ["udp:127.0.0.1:0"],
      data: join(folder.path, name),
      bus: nats.url,
      store: { url: mongo.url(`prepaid_nodes_${process.pid}`), timeoutS: 10 },
      health: { intervalS: 0 },
      session: { probeS: 0 },
      tariffs: [{ id: "visit", currency: "EUR", setupFee: "2.00" }],
      services: [{ id: "wine", tariff: "visit" }],
      appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
    });
    mkdirSync(config.data, { recursive: true });
    return config;
  };
  const configs = [configOf("one"), configOf("two")];
  await withStore(configs[0]!, async (store) => {
    await registerUser(store, { id: USER, realm: DOMAIN, password: PASSWORD, md5: true, prepaid: { currency: "EUR" } });
    await store.credit!.open(USER, "EUR");
    const amount = micros(money("9.00", "EUR"));
    await store.credit!.post({ user: USER, id: "topup:1", kind: "topup", amount, currency: "EUR", at: Date.now() });
  });
  const relays: Relay[] = [];
  for (const config of configs) {
    const relay = await startRelay({ config, log });
    closers.push(() => relay.close({ drainMs: 0 }));
    relays.push(relay);
  }
  const portOf = (i: number) => relays[i % 2]!.addresses.find(({ transport }) => transport === "udp")!.port;

  // Twelve calls of 2.00 each, six at each relay: 9.00 is enough for four.
  const clients = await Promise.all(
    Array.from({ length: 12 }, async (_, i) => {
      const client = await UdpPeer.open(() => ({ address: "127.0.0.1", port: portOf(i) }));
      closers.push(() => client.close());
      return client;
    }),
  );
  server.onMessage = (message) => {
    if (!message.isRequest) return false;
    port = message.via!.port!;
    if (message.method !== "ACK") server.answer(message, 200);
    return true;
  };
  const outcomes = await Promise.all(
    clients.map(async (client) => {
      const invite = await client.call("wine");
      const status = await Promise.race(
        [200, 402].map((code) => client.nextResponse(code).then((found) => ({ code, found }))),
      );
      client.ack(invite, status.found);
      return { client, invite, ...status };
    }),
  );
  expect(outcomes.filter(({ code }) => code === 200)).toHaveLength(4);
  expect(outcomes.filter(({ code }) => code === 402)).toHaveLength(8);
  for (const { client, invite, found, code } of outcomes) {
    if (code !== 200) continue;
    client.inDialog("BYE", invite, found, 3);
    await client.nextResponse(200);
  }
  const balance = () =>
    withStore(configs[0]!, async (store) => {
      const account = (await store.credit!.account(USER))!;
      return `${formatMoney(fromMicros(balanceOf(account), "EUR"))}, ${Object.keys(account.holds).length} holds`;
    });
  await expect.poll(balance, { timeout: 20_000 }).toBe("1.00 EUR, 0 holds");
});
