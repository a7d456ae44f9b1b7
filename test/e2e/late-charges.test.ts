import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { withStore } from "../../src/cli/context.ts";
import { type Config, configSchema } from "../../src/config/schema.ts";
import { bearerToken, newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { registerUser } from "../../src/directory/users.ts";
import { type Relay, startRelay } from "../../src/node/relay.ts";
import { type AppSession, ChargeError, createChargeClient, createClient, serve } from "../../src/sdk/index.ts";
import { systemRandom } from "../../src/support/random.ts";
import { selfSigned, temporaryFolder } from "../console/http-lab.ts";
import { serveApi } from "../console/serve-api.ts";
import { freePort, start } from "../support/peers.ts";
import { COMMAND, nodeFlags } from "../support/project.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { PORTAL } from "../support/sipp.ts";
import { until } from "../support/until.ts";
import { DOMAIN, lines, PASSWORD, USER } from "./portal.ts";

/* Charges after a session's end, with a relay that is started again in between, on real sockets and a real store. */

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface World {
  readonly config: Config;
  readonly key: { readonly key: string; readonly secret: string };
  readonly shop: Awaited<ReturnType<typeof serve>>;
  readonly folder: string;
  /** Sessions as the shop has them, in order. */
  readonly sessions: AppSession[];
  start(): Promise<Relay>;
  /** One session, from INVITE to the answer to BYE. */
  session(): Promise<AppSession>;
  bill(): Promise<string[]>;
}

async function world(over: object = {}, signed = true): Promise<World> {
  const folder = temporaryFolder();
  closers.push(() => folder.remove());
  const { key, secret } = newAppServerKey({
    appServer: "shop",
    portalRealm: DOMAIN,
    md5: true,
    now: Date.now(),
    random: systemRandom,
  });
  const sessions: AppSession[] = [];
  const shop = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    services: { wine: async (request) => sessions.push(await request.accept()) },
    charging: signed ? { key: key.id, secret } : "by address",
  });
  closers.push(() => shop.close());
  const port = await freePort();
  const startedAt = Date.now();
  const config = configSchema.parse({
    portal: { domain: DOMAIN },
    listen: [`tcp:127.0.0.1:${port}`],
    data: join(folder.path, "data"),
    health: { intervalS: 0 },
    services: [{ id: "wine", limits: { session: "100", currency: "EUR" } }],
    appServers: [{ id: "shop", uri: shop.uri, services: ["wine"] }],
    ...over,
  });
  mkdirSync(config.data);
  await withStore(config, async (store) => {
    await registerUser(store, { id: USER, realm: DOMAIN, password: PASSWORD, md5: true });
    await store.appServerKeys.put(key);
  });
  return {
    config,
    key: { key: key.id, secret },
    shop,
    folder: folder.path,
    sessions,
    async start() {
      const relay = await startRelay({ config, log: pino({ level: "silent" }) });
      closers.push(() => relay.close({ drainMs: 0 }));
      return relay;
    },
    async session() {
      const alice = createClient({
        relay: `sip:127.0.0.1:${port};transport=tcp`,
        user: USER,
        password: PASSWORD,
        domain: DOMAIN,
      });
      const count = sessions.length;
      const mine = await alice.request("wine");
      await until(() => sessions.length > count);
      await mine.end();
      await alice.close();
      const session = sessions.at(-1)!;
      await session.ended;
      return session;
    },
    bill: () => withStore(config, async (store) => lines(await makeBill(store, USER, monthOf(startedAt)))),
  };
}

const bottle = (id: string, unitPrice = "24.50") => ({ id, item: "Rioja", unitPrice, currency: "EUR" });

describe("an app server that charges after the session has ended", () => {
  it("does so by MESSAGE with its key, before and after the relay was started again (M15)", async () => {
    const w = await world();
    const relay = await w.start();
    const session = await w.session();
    expect(await session.charge(bottle("b1"))).toEqual(["b1"]);
    expect(session.tollgateSession).toMatch(/^[0-9a-z]{29}$/);
    await relay.close({ drainMs: 0 });

    const again = await w.start();
    expect(await session.charge(bottle("b1"))).toEqual(["b1"]); // the same: charged once
    expect(await session.charge(bottle("b2"))).toEqual(["b2"]);
    await expect(session.charge(bottle("b3", "60"))).rejects.toMatchObject({ status: 403 }); // 24.50 before, 24.50 after
    await again.close({ drainMs: 0 });
    expect(await w.bill()).toEqual([
      "wine, ended by client: 0",
      "1 x Rioja by message: 24.50 EUR",
      "1 x Rioja by message: 24.50 EUR",
    ]);
  });

  it("needs no key where the relay trusts its address, and is refused where it does not (M15)", async () => {
    const trusting = await world({ charging: { trustAddress: true } }, false);
    await trusting.start();
    expect(await (await trusting.session()).charge(bottle("b1"))).toEqual(["b1"]);
    const strict = await world({}, false);
    await strict.start();
    await expect((await strict.session()).charge(bottle("b1"))).rejects.toMatchObject({ status: 401 });
  });

  it("does so by HTTPS, while the relay runs and after it was started again (M17)", async () => {
    const w = await world();
    const { cert, key, pem } = selfSigned(w.folder);
    const http = { ...w.config.http, listen: { address: "127.0.0.1", port: 0 }, tls: { cert, key } };
    const config = { ...w.config, http };
    const open = async () => {
      const relay = await w.start();
      const api = await serveApi({ config, listen: http.listen, relay, log: pino({ level: "silent" }) });
      relay.onClosing(() => api.close());
      return { relay, client: createChargeClient({ url: `https://127.0.0.1:${api.port}`, ...w.key, ca: pem }) };
    };
    const first = await open();
    const session = (await w.session()).tollgateSession!;
    expect(await first.client.charge(session, [bottle("b1")], { idempotencyKey: randomUUID() })).toEqual(["b1"]);
    await first.relay.close({ drainMs: 0 });

    const second = await open();
    expect(await second.client.charge(session, [bottle("b1"), bottle("b2")])).toEqual(["b1", "b2"]);
    const refusal = await second.client.charge(session, [bottle("b2", "1")]).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(ChargeError);
    expect(refusal).toMatchObject({ status: 409, kind: "conflict" });
    await expect(second.client.charge("nonsense", [bottle("b9")])).rejects.toMatchObject({ status: 404 });
    const stranger = createChargeClient({ url: "https://127.0.0.1:1", key: "k", secret: bearerToken("a", "b") });
    await expect(stranger.charge(session, [bottle("b9")])).rejects.toThrow("ECONNREFUSED");
    await second.relay.close({ drainMs: 0 });
    expect(await w.bill()).toEqual([
      "wine, ended by client: 0",
      "1 x Rioja by direct: 24.50 EUR",
      "1 x Rioja by direct: 24.50 EUR",
    ]);
  });

  it("is refused when the time for it is over, also by a relay that was started again (M15)", async () => {
    const w = await world({ charging: { lateChargesS: 0.2 } });
    const relay = await w.start();
    const session = await w.session();
    const endedAt = Date.now();
    await relay.close({ drainMs: 0 });
    await w.start();
    await until(() => Date.now() > endedAt + 200);
    await expect(session.charge(bottle("b1"))).rejects.toMatchObject({ status: 410 });
  });

  it("is charged for once by a relay that was killed in between, with the event still in its journal (M15)", {
    timeout: 30_000,
  }, async () => {
    const sessions: AppSession[] = [];
    const port = await freePort();
    let charging!: { key: string; secret: string };
    const open = () =>
      serve({
        listen: { host: "127.0.0.1", port },
        services: { wine: async (request) => sessions.push(await request.accept()) },
        charging,
      });
    const relay = await startRelayProcess({ appServers: [{ id: "shop", port, services: ["wine"], transport: "tcp" }] });
    closers.push(() => relay.remove());
    charging = JSON.parse(await relay.command(["appserver", "key", "add", "shop", "--json"]));
    const shop = await open();
    closers.push(() => shop.close());
    const uri = `sip:127.0.0.1:${relay.port};transport=tcp`;
    const alice = createClient({ relay: uri, user: "alice", password: "secret", domain: PORTAL });
    const mine = await alice.request("wine");
    await until(() => sessions.length > 0);
    await mine.end();
    await alice.close();
    relay.peer.child.kill("SIGKILL"); // before anything is billed: that takes a tenth of a second
    await relay.peer.exit;

    const file = join(relay.folder, "tollgate.yaml");
    const again = await start("relay again", process.execPath, [...nodeFlags(), COMMAND, "start", "--config", file]);
    closers.push(() => again.stop());
    await again.says(/relay started/);
    const session = sessions[0]!;
    for (let i = 0; i < 2; i++) expect(await session.charge(bottle("b1"))).toEqual(["b1"]);
    expect((await again.stop()).code).toBe(0);
    const bill = JSON.parse(await relay.command(["bill", "alice", "--json"]));
    expect(lines(bill)).toEqual(["wine, ended by client: 0.50 EUR", "1 x Rioja by message: 24.50 EUR"]);
  });
});
