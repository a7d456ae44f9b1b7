import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectTo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterEach, describe, expect, it, type TestContext, vi } from "vitest";
import { openNatsBus } from "../../src/bus/nats.ts";
import { messageId } from "../../src/bus/nats-messages.ts";
import { busSchema } from "../../src/bus/settings.ts";
import type { Bus } from "../../src/bus/types.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import type { DeadLetter } from "../../src/charging/events/dead-letter.ts";
import { type ChargingEvent, chargeMade, sessionEnded, sessionStarted } from "../../src/charging/events/events.ts";
import { EventError } from "../../src/charging/events/faults.ts";
import { openJournal } from "../../src/charging/journal/journal.ts";
import { systemClock } from "../../src/support/clock.ts";
import { MemoryBilling } from "../charging/memory-store.ts";
import { aCharge, deferred, facts, JANUARY, silent, wholeSession } from "../charging/samples.ts";
import { makeCertificates, type NatsServer, NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { freePort } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { until } from "../support/until.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "tg-bus-"));
  cleanups.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function server(...args: Parameters<typeof startNats>): Promise<NatsServer> {
  const nats = await startNats(...args);
  cleanups.push(() => nats.destroy());
  return nats;
}

async function busOf(settings: string | Record<string, unknown>, env: NodeJS.ProcessEnv = {}): Promise<Bus> {
  const bus = await openNatsBus({
    settings: busSchema.parse(settings)!,
    clock: systemClock,
    log: silent,
    env,
    retryLeastMs: 20,
    connectAgainMs: 50,
  });
  cleanups.push(() => bus.close());
  return bus;
}

async function client(nats: NatsServer): Promise<NatsConnection> {
  const nc = await connect({ servers: `127.0.0.1:${nats.port}` });
  cleanups.push(() => nc.close());
  return nc;
}

/** Publishes until it is taken, as the journal does. */
async function untilTaken(bus: Bus, events: readonly ChargingEvent[]): Promise<void> {
  await until(() =>
    bus.publish(events).then(
      () => true,
      () => false,
    ),
  );
}

/** A test with a nats-server of its own. */
function natsTest(title: string, act: (context: TestContext) => Promise<void>): void {
  it(title, { timeout: 30_000 }, async (context) => {
    context.skip(natsProgram === undefined, NO_NATS);
    await act(context);
  });
}

const started = (n: number): ChargingEvent => sessionStarted(facts({ id: `s${n}` }), JANUARY);

describe("a NATS server that comes back", () => {
  natsTest("is found at once, though the wall clock was set back an hour", async () => {
    const nats = await server();
    const bus = await busOf(nats.url);
    await bus.publish([started(1)]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 3_600_000 });
    cleanups.push(() => vi.useRealTimers());
    await nats.kill();
    await nats.start();
    await untilTaken(bus, [started(2)]);
  });
});

describe("signing in to NATS (P2)", () => {
  const users = 'authorization { users = [ { user: "tollgate", password: "right" } ] }';

  natsTest("works with user and password from settings, URL, file and environment", async () => {
    const nats = await server({ config: users });
    const file = join(folder(), "password");
    writeFileSync(file, "right\n");
    await busOf({ servers: nats.url, user: "tollgate", password: "right" });
    await busOf(nats.url.replace("//", "//tollgate:right@"));
    await busOf({ servers: nats.url, user: "tollgate", passwordFile: file });
    await busOf({ servers: nats.url, user: "tollgate" }, { TOLLGATE_NATS_PASSWORD: "right" });
  });

  natsTest(
    "with a wrong password is refused at the start, in words that say what to check and not the password",
    async () => {
      const nats = await server({ config: users });
      const error = await busOf(nats.url.replace("//", "//tollgate:wrong@")).catch((reason: Error) => reason);
      expect(String(error)).toMatch(/refuses the sign-in .*bus\.user and bus\.password/);
      expect(String(error)).not.toContain("wrong");
    },
  );

  natsTest("works with a token", async () => {
    const nats = await server({ config: 'authorization { token: "t0ken" }' });
    await busOf({ servers: nats.url, token: "t0ken" });
    await busOf({ servers: nats.url }, { TOLLGATE_NATS_TOKEN: "t0ken" });
    await expect(busOf({ servers: nats.url, token: "other" })).rejects.toThrow("refuses the sign-in");
  });

  natsTest("works with an nkey", async () => {
    // The key pair of the nkeys documentation's form, made for this test.
    const { nkeys } = await import("@nats-io/transport-node");
    const pair = nkeys.createUser();
    const nats = await server({ config: `authorization { users = [ { nkey: ${pair.getPublicKey()} } ] }` });
    const file = join(folder(), "user.nk");
    writeFileSync(file, `${new TextDecoder().decode(pair.getSeed())}\n`);
    await busOf({ servers: nats.url, nkeyFile: file });
    await expect(busOf(nats.url)).rejects.toThrow("refuses the sign-in");
  });

  natsTest("goes over TLS, to a server whose certificate the given CA signed and to no other", async ({ skip }) => {
    const certificates = folder();
    skip(!makeCertificates(certificates), "openssl is not installed (Debian: apt-get install openssl)");
    const at = (name: string) => join(certificates, name);
    const nats = await server({ config: `tls { cert_file: "${at("cert.pem")}", key_file: "${at("key.pem")}" }` });
    const url = nats.url.replace("nats:", "tls:");
    const bus = await busOf({ servers: url, tls: { ca: at("ca.pem") } });
    await bus.publish([started(1)]);
    await expect(busOf(url)).rejects.toThrow("bus.tls.ca must be what signed");
    await expect(busOf({ servers: url, tls: { ca: at("none.pem") } })).rejects.toThrow("bus.tls.ca: ENOENT");
    const elsewhere = folder();
    makeCertificates(elsewhere, "127.0.0.9");
    const files = `cert_file: "${join(elsewhere, "cert.pem")}", key_file: "${join(elsewhere, "key.pem")}"`;
    const other = await server({ config: `tls { ${files} }` });
    const ca = join(elsewhere, "ca.pem");
    await expect(busOf({ servers: other.url.replace("nats:", "tls:"), tls: { ca } })).rejects.toThrow("does not match");
    const plain = await server();
    await expect(busOf(plain.url.replace("nats:", "tls:"))).rejects.toThrow("does not offer TLS");
  });
});

describe("what NATS must have (P2)", () => {
  natsTest("is said where JetStream is off", async () => {
    const nats = await server({ jetStream: false });
    await expect(busOf(nats.url)).rejects.toThrow("JetStream switched off: start it with -js");
  });

  natsTest("is said where a permission is missing: which, and to what subject", async () => {
    const allow = ["$JS.API.STREAM.INFO.TOLLGATE", "$JS.API.STREAM.CREATE.TOLLGATE"].map((one) => `"${one}"`).join();
    const nats = await server({
      config: `authorization { users = [ { user: a, password: b, permissions: { publish: [${allow}], subscribe: "_INBOX.>" } } ] }`,
    });
    await expect(busOf({ servers: nats.url, user: "a", password: "b" })).rejects.toThrow(
      /does not permit this user to look at the stream TOLLGATE_DEAD: allow it to publish to \$JS\.API\.STREAM\.INFO\.TOLLGATE_DEAD/,
    );
  });

  natsTest("is no more than the guide says of permissions", async () => {
    const guide = readFileSync(join(ROOT, "ops/guide/nats-and-mongodb.md"), "utf8");
    const said = /needs\s+these\s+permissions:\s+publish\s+to ([^;]+);\s+subscribe\s+to\s+`([^`]+)`/.exec(guide)!;
    const publish = [...said[1]!.matchAll(/`([^`]+)`/g)].map(([, subject]) => `"${subject}"`).join();
    const nats = await server({
      config: `authorization { users = [ { user: a, password: b, permissions: { publish: [${publish}], subscribe: "${said[2]}" } } ] }`,
    });
    const bus = await busOf({ servers: nats.url, user: "a", password: "b" });
    const store = { billing: new MemoryBilling() };
    const billing = await startBilling({ store, bus, clock: systemClock, log: silent });
    const unbillable = chargeMade(facts(), JANUARY, aCharge({ quantity: "two" }), "info");
    await bus.publish([unbillable, ...wholeSession(facts(), 60_000)]);
    await until(() => store.billing.lines.size >= 1 && store.billing.letters.size >= 1);
    await billing.stop();
    const nc = await connect({ servers: `127.0.0.1:${nats.port}`, user: "a", pass: "b" });
    cleanups.push(() => nc.close());
    const jsm = await jetstreamManager(nc, { checkAPI: false });
    expect(await jsm.consumers.info("TOLLGATE", "billing")).toMatchObject({ num_ack_pending: 0, num_pending: 0 });
  });

  natsTest(
    "is said at the first publication where only that is forbidden, and the journal keeps the events",
    async () => {
      const nats = await server({
        config: `authorization { users = [ { user: a, password: b, permissions: { publish: "$JS.>", subscribe: "_INBOX.>" } } ] }`,
      });
      const bus = await busOf({ servers: nats.url, user: "a", password: "b" });
      await expect(bus.publish([started(1)])).rejects.toThrow(
        /Permissions Violation.*tollgate\.events\.session\.started/i,
      );
    },
  );

  natsTest(
    "is made where it is missing, brought to the settings where it can be, and refused where it cannot",
    async () => {
      const nats = await server();
      const jsm = await jetstreamManager(await client(nats));
      await busOf({ servers: nats.url, maxAgeS: 7200 });
      expect((await jsm.streams.info("TOLLGATE")).config).toMatchObject({
        max_age: 7200e9,
        max_bytes: -1,
        storage: "file",
        discard: "new",
      });
      await busOf({ servers: nats.url, maxAgeS: 3600, maxBytes: 2 ** 21 });
      expect((await jsm.streams.info("TOLLGATE")).config).toMatchObject({ max_age: 3600e9, max_bytes: 2 ** 21 });
      await jsm.streams.add({ name: "MEMORY", subjects: ["m.events.>"], storage: "memory" });
      await expect(busOf({ servers: nats.url, stream: "MEMORY", prefix: "m" })).rejects.toThrow(
        "the stream MEMORY has storage memory, Tollgate needs file: name another with bus.stream, or remove that one (nats stream rm MEMORY)",
      );
      await jsm.streams.add({ name: "OTHER", subjects: ["orders.>"] });
      await expect(busOf({ servers: nats.url, stream: "OTHER", prefix: "o" })).rejects.toThrow("has subjects orders.>");
      await jsm.consumers.add("TOLLGATE", { durable_name: "billing", ack_policy: "none" });
      const bus = await busOf(nats.url);
      await expect(bus.consume("billing", async () => {})).rejects.toThrow(
        "consumer billing of the stream TOLLGATE has ack_policy none",
      );
    },
  );

  natsTest("keeps what is not billed, and takes nothing new, where the stream is as large as it may be", async () => {
    const nats = await server();
    const bus = await busOf({ servers: nats.url, maxBytes: 2 ** 20 });
    const large = (n: number) =>
      chargeMade(facts(), JANUARY, aCharge({ id: `${n}`, item: "x".repeat(10_000) }), "info");
    await expect(bus.publish(Array.from({ length: 200 }, (_, n) => large(n)))).rejects.toThrow(
      /maximum bytes exceeded/,
    );
    const jsm = await jetstreamManager(await client(nats));
    expect((await jsm.streams.info("TOLLGATE")).state.first_seq).toBe(1);
  });
});

describe("NATS away (P2)", () => {
  natsTest("at the start: the relay's journal keeps events until it is there, and nothing else waits", async () => {
    const port = await freePort();
    const bus = await busOf(`nats://127.0.0.1:${port}`);
    const journal = await openJournal({ path: join(folder(), "journal"), bus, clock: systemClock, log: silent });
    cleanups.push(() => journal.close());
    await journal.append(started(1));
    await expect(bus.publish([started(2)])).rejects.toThrow("not connected to NATS");
    const seen = deferred<string>();
    await bus.consume("billing", async ([event]) => seen.resolve(event!.id));
    const nats = await server({ port });
    expect(await seen.promise).toBe(started(1).id);
    expect(nats.port).toBe(port);
    await journal.drained();
  });

  natsTest("in the middle: killed twice while events are published, each is billed once", async () => {
    const nats = await server();
    const bus = await busOf(nats.url);
    const store = { billing: new MemoryBilling() };
    const journal = await openJournal({
      path: join(folder(), "journal"),
      bus,
      clock: systemClock,
      log: silent,
      publishEveryMs: 5,
    });
    cleanups.push(() => journal.close());
    const workers = [];
    for (let n = 0; n < 2; n++) workers.push(await startBilling({ store, bus, clock: systemClock, log: silent }));
    const sessions = 300;
    for (let n = 0; n < sessions; n++) {
      const events = wholeSession(facts({ id: `s${n}` }), 60_000, [aCharge(), aCharge({ id: "2" })]);
      await Promise.all(events.map((event) => journal.append(event)));
      if (n === 100 || n === 200) {
        await nats.kill();
        await nats.start();
      }
    }
    await journal.drained();
    const billed = () =>
      [...store.billing.stored.values()].filter(({ state }) => state === "closed" || state === "chargeable").length;
    await until(() => billed() >= sessions && store.billing.lines.size >= sessions * 3);
    expect(store.billing.lines.size).toBe(sessions * 3);
    expect([...store.billing.lines.values()].filter(({ kind }) => kind === "item")).toHaveLength(sessions * 2);
    const jsm = await jetstreamManager(await client(nats));
    expect((await jsm.streams.info("TOLLGATE")).state.messages).toBe(sessions * 4); // each event once, by Nats-Msg-Id
    expect(workers.reduce((sum, { counters }) => sum + counters.events, 0)).toBeGreaterThanOrEqual(sessions * 4);
    await Promise.all(workers.map((worker) => worker.stop()));
  });

  natsTest("seemingly not, over a way that swallows all: a connection that is given up is made anew", async () => {
    const nats = await server();
    const ways = new Set<Socket>();
    const way = createServer((near) => {
      const far = connectTo(nats.port, "127.0.0.1");
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) {
        socket.on("error", () => {});
        ways.add(socket);
      }
    });
    await new Promise<void>((resolve) => way.listen(0, "127.0.0.1", resolve));
    cleanups.push(() => {
      for (const socket of ways) socket.destroy();
      way.close();
    });
    const bus = await busOf(`nats://127.0.0.1:${(way.address() as AddressInfo).port}`);
    let heard: string[] = [];
    bus.hear!("a", (text) => void heard.push(text));
    const untilHeard = (text: string) =>
      until(() => {
        bus.tell!("a", text);
        return heard.includes(text);
      });
    await untilHeard("before");
    for (const socket of ways) socket.unpipe().pause();
    const published = bus.publish([started(1)]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    heard = [];
    expect(bus.tell!("a", "into nothing")).toBe(true);
    expect(bus.renew!("a test")).toBe(true);
    await expect(published).rejects.toThrow("the connection to NATS is closed");
    expect(bus.renew!("once more")).toBe(false);
    await untilHeard("after");
    await untilTaken(bus, [started(1)]);
  });

  natsTest("what is published again, since it was not known to have arrived, lies in the stream once", async () => {
    const nats = await server();
    const bus = await busOf(nats.url);
    const events = [started(1), chargeMade(facts(), JANUARY, aCharge({ id: "ä b" }), "info")];
    for (let n = 0; n < 3; n++) await bus.publish(events);
    const jsm = await jetstreamManager(await client(nats));
    expect((await jsm.streams.info("TOLLGATE")).state.messages).toBe(2);
  });

  natsTest("streams and consumer removed under a running relay are made again", async () => {
    const nats = await server();
    const bus = await busOf(nats.url);
    const seen = new Set<string>();
    let tell = () => {};
    await bus.consume("billing", async (events) => {
      for (const { id } of events) seen.add(id);
      tell();
    });
    const jsm = await jetstreamManager(await client(nats));
    await jsm.streams.delete("TOLLGATE");
    await expect(bus.publish([started(1)])).rejects.toThrow("no stream of NATS takes this subject");
    await untilTaken(bus, [started(1)]);
    await new Promise<void>((resolve) => {
      tell = () => seen.has(started(1).id) && resolve();
      tell();
    });
  });
});

describe("a consumer on NATS (P2)", () => {
  natsTest("that never ends with a batch is told so, and gets the events again", async () => {
    const nats = await server();
    const logged: unknown[] = [];
    const bus = await openNatsBus({
      settings: busSchema.parse(nats.url)!,
      clock: systemClock,
      log: { ...silent, warn: (facts: { err: Error }) => void logged.push(facts.err.message) } as typeof silent,
      retryLeastMs: 20,
      handleMostMs: 100,
    });
    cleanups.push(() => bus.close());
    const again = deferred<string[]>();
    let calls = 0;
    const stop = await bus.consume("billing", async (events) => {
      if (++calls === 1) await new Promise(() => {}); // for ever
      again.resolve(events.map(({ id }) => id));
    });
    await bus.publish([started(1)]);
    expect(await again.promise).toEqual([started(1).id]);
    expect(logged).toEqual(["not handled after 0.1 s"]);
    await stop();
  });
});

describe("broken messages on NATS (P2)", () => {
  natsTest("are handed over as dead letters with the reason, and hold nothing up", async () => {
    const nats = await server();
    const bus = await busOf(nats.url);
    const store = { billing: new MemoryBilling() };
    const nc = await client(nats);
    const dead = deferred<{ reason: string; id: string; text: string }>();
    nc.subscribe("tollgate.dead", {
      callback: (_error, message) =>
        dead.resolve({
          reason: message.headers!.get("Tollgate-Reason"),
          id: message.headers!.get("Tollgate-Id"),
          text: message.string(),
        }),
    });
    await nc.flush();
    nc.publish("tollgate.events.charge.made", "no event");
    await nc.flush();
    const billing = await startBilling({ store, bus, clock: systemClock, log: silent });
    expect(await dead.promise).toEqual({ reason: "it is not JSON", id: "TOLLGATE:1", text: "no event" });
    const unbillable = chargeMade(facts(), JANUARY, aCharge({ quantity: "two" }), "info");
    await bus.publish([unbillable, ...wholeSession(facts(), 60_000, [aCharge({ id: "2" })])]);
    await until(() => store.billing.lines.size >= 2 && store.billing.letters.size >= 2);
    expect([...store.billing.letters.keys()].sort()).toEqual(["TOLLGATE:1", unbillable.id]);
    await billing.stop();
  });

  natsTest("whatever is wrong with them end nothing: what comes after is billed", async () => {
    const nats = await server();
    const bus = await busOf(nats.url);
    const store = { billing: new MemoryBilling() };
    const nc = await client(nats);
    const cloud = (data: unknown, over = {}) =>
      JSON.stringify({ specversion: "1.0", id: "x", source: "/a", type: "tollgate.session.ended", data, ...over });
    const ended = { ...sessionEnded(facts({ id: "x" }), JANUARY, JANUARY + 1, "client"), id: "x" };
    const deep = (n: number) => `${"[".repeat(n)}${"]".repeat(n)}`;
    const broken: (string | Uint8Array)[] = [
      "",
      "null",
      new Uint8Array([0xff, 0xfe, 0]),
      deep(400_000),
      cloud({ id: "x", type: { toString: 1 } }),
      cloud({ id: "x", type: null }),
      cloud({ ...ended, endedBy: { toString: null } }),
      cloud({ ...ended, endedBy: "x".repeat(900_000) }),
      cloud({ ...ended, session: { ...ended.session, tariff: { id: {}, price: [] } } }),
      cloud({ ...ended, more: 0 }).replace('"more":0', `"more":${deep(200_000)}`),
      cloud({ ...ended, type: "session.changed", from: { id: 7 } }, { type: "tollgate.session.changed" }),
    ];
    for (const data of broken) nc.publish("tollgate.events.session.ended", data);
    for (let n = 0; n < 20; n++)
      nc.publish("tollgate.events.session.ended", cloud({ ...ended, endedBy: `${n}${"y".repeat(900_000)}` }));
    await nc.flush();
    const billing = await startBilling({ store, bus, clock: systemClock, log: silent });
    await bus.publish(wholeSession(facts({ id: "good" }), 60_000));
    await until(() => store.billing.lines.has("good:ended"));
    await until(() => store.billing.letters.size >= broken.length + 20);
    expect([...store.billing.lines.keys()]).toEqual(["good:ended"]);
    await billing.stop();
  });

  natsTest("an event that is larger than the server takes is refused by itself; the others are published", async () => {
    const nats = await server({ config: "max_payload: 65536" });
    const bus = await busOf(nats.url);
    const large = { ...started(2), call: "x".repeat(65_000) } as unknown as ChargingEvent;
    await expect(bus.publish([started(1), large, started(3)])).rejects.toThrow(EventError);
    const jsm = await jetstreamManager(await client(nats));
    expect((await jsm.streams.info("TOLLGATE")).state.messages).toBe(2);
    await jsm.streams.update("TOLLGATE", { max_msg_size: 2_000 });
    const larger = { ...started(4), call: "x".repeat(2_000) } as unknown as ChargingEvent;
    await expect(bus.publish([larger])).rejects.toThrow(EventError);
  });

  natsTest("that are too large for one more message are cut there, and whole in the store", async () => {
    const nats = await server({ config: "max_payload: 65536" });
    const bus = await busOf(nats.url);
    const nc = await client(nats);
    const got = deferred<{ cut: string; bytes: number }>();
    nc.subscribe("tollgate.dead", {
      callback: (_error, { headers: head, data }) =>
        got.resolve({ cut: head!.get("Tollgate-Cut"), bytes: data.length }),
    });
    await nc.flush();
    const letter: DeadLetter = { id: "ä\r\nb", at: JANUARY, reason: "größer\r\nX: y", event: "x".repeat(65_536) };
    await bus.publishDead!([letter]);
    expect(await got.promise).toEqual({ cut: "65536", bytes: 65_536 - 4_100 });
  });

  natsTest("answers of strangers to a publication count for nothing", async () => {
    const nats = await server();
    const hasty = { ...systemClock, setTimeout: (fn: () => void, ms: number) => systemClock.setTimeout(fn, ms / 50) };
    const bus = await openNatsBus({ settings: busSchema.parse(nats.url)!, clock: hasty, log: silent });
    cleanups.push(() => bus.close());
    const nc = await client(nats);
    for (const answer of ["+OK", '{"stream":"X","seq":1}'])
      nc.subscribe("tollgate.events.>", { callback: (_error, message) => void message.respond(answer) });
    await nc.flush();
    const jsm = await jetstreamManager(nc);
    await jsm.streams.delete("TOLLGATE"); // so that nobody but strangers answers
    await expect(bus.publish([started(1), started(2)])).rejects.toThrow("NATS acknowledges nothing");
  });
});

describe("an event's id as Nats-Msg-Id", () => {
  it("is the id, or where that cannot stand in a header its hash; two ids never become one", () => {
    expect(messageId("s1:charge:shop:7")).toBe("s1:charge:shop:7");
    const odd = ["a b", "a%20b", " a b", "ä", "a\r\nb", "\ud800", "\udfff", "=x", "x".repeat(256), "x".repeat(255)];
    const ids = odd.map(messageId);
    expect(new Set(ids).size).toBe(odd.length);
    for (const id of ids) expect(id).toMatch(/^[!-~]{1,255}$/);
    expect(messageId(ids[0]!)).not.toBe(ids[0]);
  });
});
