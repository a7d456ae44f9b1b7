import { readFileSync } from "node:fs";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import { openNatsBus } from "../../src/bus/nats.ts";
import { isInbox } from "../../src/bus/reply-subject.ts";
import { busSchema } from "../../src/bus/settings.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { configSchema } from "../../src/config/schema.ts";
import { createChargeDesk } from "../../src/console/api.ts";
import { serveChargesOnNats } from "../../src/console/charges-nats.ts";
import { bearerToken, newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { systemClock } from "../../src/support/clock.ts";
import type { Logger } from "../../src/support/log.ts";
import { systemRandom } from "../../src/support/random.ts";
import { MemoryBilling } from "../charging/memory-store.ts";
import { aCharge, facts, silent, wholeSession } from "../charging/samples.ts";
import { type NatsServer, NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { ROOT } from "../support/project.ts";
import { until } from "../support/until.ts";

/** The users of the file, with passwords in place of the environment's. */
function users(): string {
  const text = readFileSync(join(ROOT, "ops/compose/nats.conf"), "utf8");
  return text
    .slice(text.indexOf("authorization {"))
    .replace(/\$NATS_(\w+)_PASSWORD/g, (_, name) => `"${name.toLowerCase()}"`);
}

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

const { key, secret } = newAppServerKey({
  appServer: "shop",
  portalRealm: "localhost",
  md5: false,
  now: 0,
  random: systemRandom,
});
const signedIn = () => {
  const head = headers();
  head.set("Authorization", `Bearer ${bearerToken(key.id, secret)}`);
  return head;
};
const CHARGES = JSON.stringify({
  session: "s1",
  charges: [{ id: "c1", item: "Book", unitPrice: "12.50", currency: "EUR" }],
});

describe("ops/compose/nats.conf", () => {
  const natsTest = (title: string, act: () => Promise<void>) =>
    it(title, { timeout: 30_000 }, async ({ skip }) => {
      skip(natsProgram === undefined, NO_NATS);
      await act();
    });

  async function server(): Promise<NatsServer> {
    const nats = await startNats({ config: users() });
    cleanups.push(() => nats.destroy());
    return nats;
  }
  const errors: string[] = [];
  const log = {
    ...silent,
    error: (what: { err?: Error }) => void (what.err && errors.push(what.err.message)),
  } as unknown as Logger;
  async function busOf(nats: NatsServer, user: string) {
    const settings = busSchema.parse({ servers: nats.url, user, password: user })!;
    const bus = await openNatsBus({ settings, clock: systemClock, log, env: {} });
    cleanups.push(() => bus.close());
    return bus;
  }
  async function client(nats: NatsServer, user: string, inboxPrefix?: string) {
    const options = { servers: `127.0.0.1:${nats.port}`, user, pass: user, ...(inboxPrefix && { inboxPrefix }) };
    const nc = await connect(options);
    cleanups.push(() => nc.close());
    return nc;
  }
  /** A relay that takes charges, as the user `relay`. */
  async function charges(nats: NatsServer) {
    let charged = 0;
    const charge = async () => {
      charged++;
      return { kind: "recorded" };
    };
    const direct = { charge, refuse: async () => undefined };
    const charging = { direct, appServerKey: (id: string) => (id === key.id ? key : undefined) };
    const desk = createChargeDesk(configSchema.parse({}), { charging } as never);
    const settings = busSchema.parse({ servers: nats.url, user: "relay", password: "relay" })!;
    const responder = await serveChargesOnNats({ settings, desk, clock: systemClock, log, env: {} });
    cleanups.push(() => responder.close());
    return () => charged;
  }

  natsTest(
    "lets relays and billing workers do all they have to, whichever is first on a server with nothing on it",
    async () => {
      for (const first of ["relay", "billing"]) {
        errors.length = 0;
        const nats = await server();
        const others = first === "relay" ? ["relay", "billing"] : ["billing", "relay"];
        const buses = new Map<string, Awaited<ReturnType<typeof busOf>>>();
        for (const user of others) buses.set(user, await busOf(nats, user));
        const [relay, billing] = [buses.get("relay")!, buses.get("billing")!];
        const store = new MemoryBilling();
        const worker = await startBilling({ bus: billing, store: { billing: store }, clock: systemClock, log });
        cleanups.push(() => worker.stop());
        const record = await relay.records!.write("node00", "a record", 0);
        expect(await relay.records!.read("node00")).toEqual({ text: "a record", sequence: record });
        await relay.publish([
          ...wholeSession(facts(), 61_000, [aCharge()]),
          { ...wholeSession(facts({ id: "s2" }), 1)[0]!, at: -1 } as never,
        ]);
        await until(() => store.lines.size >= 2 && store.letters.size >= 1);
        await relay.handled!("billing", 5_000);
        const second = await busOf(nats, "relay");
        relay.answer!("n1", async (question) => `${question}!`);
        await until(async () => (await second.ask!("n1", "ping", 1_000)) !== undefined);
        expect(await second.ask!("n1", "ping", 1_000)).toBe("ping!");
        expect(errors).toEqual([]);
      }
    },
  );

  natsTest("lets an app server charge by NATS, and read its answer", async () => {
    const nats = await server();
    const charged = await charges(nats);
    const shop = await client(nats, "shop", "_INBOX_shop");
    const reply = await shop.request("tollgate.charges", CHARGES, { timeout: 5_000, headers: signedIn() });
    expect([reply.json(), charged()]).toEqual([{ session: "s1", charges: ["c1"] }, 1]);
  });

  natsTest("lets an app server publish nothing else, and read nobody else's", async () => {
    const nats = await server();
    await busOf(nats, "relay");
    const relay = await client(nats, "relay");
    const shop = await client(nats, "shop", "_INBOX_shop");
    const refused: string[] = [];
    void (async () => {
      for await (const status of shop.status())
        if (status.type === "error") refused.push(String((status.error as { subject?: string }).subject));
    })();
    const subjects = [
      "tollgate.events.charge.made",
      "tollgate.dead",
      "tollgate.nodes.n1",
      "$JS.API.STREAM.DELETE.TOLLGATE",
      "$JS.API.STREAM.INFO.TOLLGATE",
      "$JS.API.CONSUMER.MSG.NEXT.TOLLGATE.billing",
      "$JS.ACK.TOLLGATE.billing.1.1.1.1.1",
      "_INBOX.x",
      "_INBOX_other.x",
    ];
    for (const subject of subjects) shop.publish(subject, "x");
    await shop.flush();
    const heard: string[] = [];
    for (const subject of ["tollgate.>", "tollgate.charges", "tollgate.events.>", "_INBOX.>", "_INBOX_other.>", ">"])
      shop.subscribe(subject, { callback: (error, message) => void (error ?? heard.push(message.subject)) });
    await shop.flush();
    await until(() => refused.length >= subjects.length + 6);
    relay.publish("tollgate.events.session.started", "x");
    await relay.flush();
    await shop.flush();
    expect([...new Set(refused)].sort()).toEqual(
      [
        ...new Set([
          ...subjects,
          "tollgate.>",
          "tollgate.charges",
          "tollgate.events.>",
          "_INBOX.>",
          "_INBOX_other.>",
          ">",
        ]),
      ].sort(),
    );
    expect(heard).toEqual([]);
    const { state } = await (await jetstreamManager(relay, { checkAPI: false })).streams.info("TOLLGATE");
    expect(state.messages).toBe(1);
  });

  natsTest("lets a billing worker make no events, and a relay tell no billing", async () => {
    const nats = await server();
    await busOf(nats, "relay");
    const violates = async (user: string, subject: string) => {
      const nc = await client(nats, user);
      const violated = (async () => {
        for await (const status of nc.status()) if (status.type === "error") return status.error.name;
        return "none";
      })();
      nc.publish(subject, "x");
      await nc.flush();
      return violated;
    };
    expect(await violates("billing", "tollgate.events.charge.made")).toBe("PermissionViolationError");
    expect(await violates("billing", "$JS.API.STREAM.DELETE.TOLLGATE")).toBe("PermissionViolationError");
    expect(await violates("relay", "$JS.API.STREAM.PURGE.TOLLGATE")).toBe("PermissionViolationError");
    expect(await violates("relay", "$JS.ACK.TOLLGATE.billing.1.1.1.1.1")).toBe("PermissionViolationError");
  });

  natsTest(
    "nor can an app server have a relay publish for it, by the subject that it wants its answer on",
    async () => {
      const nats = await server();
      await busOf(nats, "relay");
      const charged = await charges(nats);
      const shop = await client(nats, "shop", "_INBOX_shop");
      const evil = [
        "tollgate.events.charge.made",
        "$JS.API.STREAM.DELETE.TOLLGATE",
        "$JS.API.STREAM.PURGE.TOLLGATE",
        "tollgate.dead",
      ];
      for (const reply of evil) shop.publish("tollgate.charges", CHARGES, { reply, headers: signedIn() });
      // One after the other on one connection: when this one is answered, those were looked at.
      await shop.request("tollgate.charges", CHARGES, { timeout: 5_000, headers: signedIn() });
      expect(charged()).toBe(1);
      const relay: NatsConnection = await client(nats, "relay");
      const jsm = await jetstreamManager(relay, { checkAPI: false });
      for (const stream of ["TOLLGATE", "TOLLGATE_DEAD"])
        expect((await jsm.streams.info(stream)).state.messages).toBe(0);
    },
  );
});

describe("a subject to answer on", () => {
  it.each(["_INBOX.AbC123.1", "_INBOX.x", "_INBOX_shop.x.y", "_INBOX_shop-1.x", "_INBOX.a.b.c.d"])(
    "is an inbox: %s",
    (reply) => {
      expect(isInbox(reply)).toBe(true);
    },
  );
  it.each([
    undefined,
    "",
    "tollgate.events.charge.made",
    "$JS.API.STREAM.DELETE.TOLLGATE",
    "_INBOX",
    "_INBOX.",
    "_INBOX..x",
    "_INBOX.*",
    "_INBOX.>",
    "_INBOXx.y",
    "x._INBOX.y",
    "_INBOX.a b",
    "_INBOX.a\r\nPUB x 1",
    `_INBOX.${"x".repeat(200)}`,
    "_INBOX.a.b.c.d.e",
  ])("is none: %s", (reply) => {
    expect(isInbox(reply)).toBe(false);
  });
});
