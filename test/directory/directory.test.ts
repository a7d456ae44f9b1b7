import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { createDirectory, type Directory } from "../../src/directory/directory.ts";
import { registerUser } from "../../src/directory/users.ts";
import { Headers, SipRequest } from "../../src/sip/message.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { Store } from "../../src/store/types.ts";
import { createLogger } from "../../src/support/logger.ts";
import { TestClock } from "../support/test-clock.ts";

function configOf(text: string): Config {
  const config = parseConfig(text, "t.yaml");
  if (!config.ok) throw new Error(JSON.stringify(config.error));
  return config.value;
}

let folder: string;
let store: Store;
let clock: TestClock;
let directory: Directory | undefined;
let lines: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "tg-"));
  store = await openEmbeddedStore(join(folder, "store"));
  clock = new TestClock();
  lines = [];
});
afterEach(async () => {
  directory?.close();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(text = "", over: Partial<Store> = {}): Promise<Directory> {
  const log = createLogger({ level: "info", pretty: false, to: { write: (line: string) => void lines.push(line) } });
  directory = await createDirectory({
    config: configOf(text),
    store: { ...store, ...over },
    clock,
    log,
    random: () => 0,
  });
  return directory;
}

/** Lets a second pass, in which the directory asks the store, and waits until what it read is in force. */
async function afterPoll(until: () => boolean): Promise<void> {
  clock.advance(1000);
  for (let i = 0; i < 1000 && !until(); i++) await new Promise((resolve) => setImmediate(resolve));
  expect(until()).toBe(true);
}

const invite = (uri: string) =>
  new SipRequest("INVITE", uri, new Headers().add("From", "<sip:alice@portal.com>;tag=1"));

describe("the directory", () => {
  it("knows what the store and the configuration name, and the configuration wins", async () => {
    await registerUser(store, { id: "alice", realm: "localhost", password: "x", md5: true });
    await store.services.put({ id: "wine", title: "from the store" });
    await store.services.put({ id: "beer", tariff: "flat" });
    await store.tariffs.put({ id: "flat", currency: "EUR" });
    await store.appServers.put({ id: "shop", uri: "sip:10.0.0.1", services: ["beer"] });
    const found = await open(
      "services: [{ id: wine, title: from the file }]\nappServers: [{ id: shop2, uri: sip:10.0.0.2, services: [wine, beer] }]\n",
    );
    expect(found.user("alice")?.realm).toBe("localhost");
    expect(found.user("bob")).toBeUndefined();
    expect(found.service("wine")?.title).toBe("from the file");
    expect(found.service("beer")?.tariff).toBe("flat");
    expect(found.tariff("flat")?.currency).toBe("EUR");
    expect(found.appServer("shop")?.uri).toBe("sip:10.0.0.1");
    expect(found.serversFor("beer").map((server) => server.id)).toEqual(["shop", "shop2"]);
    expect(found.offering("wine")).toBe(1);
  });

  it("sees within a second what another process registered", async () => {
    const found = await open();
    expect(found.service("wine")).toBeUndefined();
    const other = await openEmbeddedStore(join(folder, "store"));
    await other.services.put({ id: "wine" });
    await other.close();
    await afterPoll(() => found.service("wine") !== undefined);
    await store.services.remove("wine");
    await afterPoll(() => found.service("wine") === undefined);
  });

  it("reads nothing again as long as nothing changed", async () => {
    let lists = 0;
    const list = () => {
      lists++;
      return store.services.list();
    };
    const services = { ...store.services, list } as Store["services"];
    const found = await open("", { services });
    for (let i = 0; i < 5; i++) {
      clock.advance(1000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(lists).toBe(1);
    await found.reload();
    expect(lists).toBe(2);
  });

  it("goes on with what it has while the store cannot be read, and says so", async () => {
    await store.services.put({ id: "wine" });
    let broken = false;
    const found = await open("", {
      directoryVersion: () => (broken ? Promise.reject(new Error("disk on fire")) : store.directoryVersion()),
    });
    broken = true;
    await afterPoll(() => lines.some((line) => line.includes("disk on fire")));
    expect(found.service("wine")).toBeDefined();
    broken = false;
    await store.services.put({ id: "beer" });
    await afterPoll(() => found.service("beer") !== undefined);
  });

  it("takes a new configuration: rules, domains, services", async () => {
    const found = await open("portal: { domain: a.com }\nservices: [{ id: wine }]\n");
    expect(found.identify(invite("sip:wine@a.com")).ok).toBe(true);
    await found.reload(
      configOf(
        "portal: { domain: b.com }\nservices: [{ id: beer }]\nrules: [{ name: r, when: { uri: 'sip:x@b.com' }, then: { service: beer } }]\n",
      ),
    );
    expect(found.identify(invite("sip:wine@a.com"))).toMatchObject({ ok: false, error: { status: 404 } });
    expect(found.identify(invite("sip:x@b.com"))).toMatchObject({
      ok: true,
      value: { service: { id: "beer" }, rule: "r" },
    });
  });

  it("counts sessions and health over a reload", async () => {
    const found = await open(
      "appServers: [{ id: shop, uri: sip:10.0.0.1, services: [wine], capacity: 1 }, { id: other, uri: sip:10.0.0.2, services: [wine] }]\n",
    );
    found.occupy("shop");
    found.markHealth("other", "down");
    await found.reload();
    expect(found.serversFor("wine")).toEqual([]);
    expect(found.serverStates().map(({ up, sessions }) => ({ up, sessions }))).toEqual([
      { up: true, sessions: 1 },
      { up: false, sessions: 0 },
    ]);
    found.release("shop");
    expect(found.serversFor("wine").map((server) => server.id)).toEqual(["shop"]);
  });

  it("takes the addresses where the relay is reached for the portal as well", async () => {
    const found = await open(
      "portal: { domain: Portal.com }\nlisten: ['udp:10.0.0.2', 'udp:[2001:DB8::1]', { transport: tcp, address: 10.0.0.2, advertised: 'sip.portal.com:5080' }]\n",
    );
    const spellings = ["PORTAL.COM", "portal.com.", "[2001:DB8:0::1]", "[2001:0db8::0001]", "[::ffff:10.0.0.2]"];
    for (const host of ["portal.com", "10.0.0.2", "[2001:db8::1]", "sip.portal.com", ...spellings])
      expect(found.isPortal(host)).toBe(true);
    for (const host of ["elsewhere.com", "127.0.0.1", "[2001:db8::2]"]) expect(found.isPortal(host)).toBe(false);
  });

  it("takes every address of the machine for the portal where it listens on all of them", async () => {
    const found = await open("listen: ['udp:0.0.0.0']\n");
    expect(found.isPortal("127.0.0.1")).toBe(true);
    expect(found.isPortal("[::1]")).toBe(false);
    expect(found.isPortal("192.0.2.1")).toBe(false);
  });

  it("warns of a service whose tariff is gone", async () => {
    await open("services: [{ id: wine, tariff: flat }]\n");
    expect(lines.join("")).toContain("a service names a tariff that does not exist");
  });

  it("warns of a service whose limits are in another currency than its tariff, wherever the two are registered", async () => {
    await store.services.put({ id: "wine", tariff: "lesson", limits: { currency: "USD" } });
    await open("tariffs: [{ id: lesson, currency: EUR }]\n");
    const line = lines.find((text) => text.includes("another currency"))!;
    expect(JSON.parse(line)).toMatchObject({ service: "wine", limits: "USD", tariff: "lesson", currency: "EUR" });
  });

  it("has one object for the terms of a service and an app server, until they are other ones", async () => {
    const text = (rate: string) => `taxes: [{ id: vat, rate: ${rate} }, { id: levy, rate: 2, services: [beer] }]
services: [{ id: wine, timeShare: 50 }, { id: beer }]
appServers: [{ id: shop, uri: "sip:127.0.0.1", services: [wine, beer], fee: { percent: 5 } }]\n`;
    const here = await open(text("19"));
    const vat = (rate: string) => ({ id: "vat", rate, included: false });
    const terms = here.terms("wine", "shop");
    expect(terms).toEqual({ taxes: [vat("19")], fee: { percent: "5" }, timeShare: "50" });
    expect(here.terms("wine", "shop")).toBe(terms);
    expect(terms!.taxes).toBe(here.taxes("wine"));
    expect(here.terms("beer", "shop")!.taxes).toEqual([vat("19"), { id: "levy", rate: "2", included: false }]);
    // Of what is not registered any more they are worked out all the same.
    expect(here.terms("gone", "gone")).toEqual({ taxes: [vat("19")] });
    await here.reload(configOf(text("21")));
    expect(here.terms("wine", "shop")!.taxes).toEqual([vat("21")]);
    expect(terms!.taxes).toEqual([vat("19")]);
    await store.appServers.put({ id: "store", uri: "sip:127.0.0.2", services: ["wine"], timeShare: "10" });
    await afterPoll(() => here.terms("wine", "store")?.timeShare === "10");
    expect((await open()).terms("wine", "store")).toEqual({ timeShare: "10" });
    expect((await open()).terms("wine", "shop")).toBeUndefined();
  });

  it("leaves no timer when it is closed", async () => {
    const found = await open();
    found.close();
    expect(clock.armed).toBe(0);
  });
});
