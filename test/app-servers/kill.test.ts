import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JSONWebKeySet } from "jose";
import { afterEach, describe, expect, it } from "vitest";
import { billed, startNodes, withoutCluster } from "../e2e/cluster-nodes.ts";
import { RelayChild } from "../e2e/relay-child.ts";
import { UdpPeer } from "../e2e/udp-peer.ts";
import { freePort } from "../support/peers.ts";
import { until } from "../support/until.ts";
import {
  type HttpShop,
  openShop,
  type Portal,
  PROTOCOLS,
  type Protocol,
  type Shop,
  type ShopOptions,
} from "./shops.ts";

/*
 * Relays that are killed while an app server has sessions and is to be told something, by the real command. `until`
 * waits for what comes from outside of this process; the test's own time is the bound.
 */

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A client that answers whoever asks whether it is still there. */
async function openClient(relayAt: () => number): Promise<UdpPeer> {
  const client = await UdpPeer.open(() => ({ address: "127.0.0.1", port: relayAt() }));
  closers.push(() => client.close());
  client.onMessage = (message) => {
    if (!message.isRequest || (message.method !== "OPTIONS" && message.method !== "UPDATE")) return false;
    client.answer(message, message.method === "OPTIONS" ? 200 : 405);
    return true;
  };
  return client;
}

async function call(client: UdpPeer) {
  const invite = await client.call("wine");
  const answer = await client.nextResponse(200);
  client.ack(invite, answer);
  return { hangUp: (seq: number) => client.inDialog("BYE", invite, answer, seq) };
}

/** The portal of app servers: its HTTP, its keys, and the key of `shop0`. */
class Doors implements Portal {
  port = 0;
  bearer = "";
  private keys: JSONWebKeySet = { keys: [] };
  jwks = () => this.keys;

  async learn(relay: RelayChild): Promise<void> {
    this.bearer = JSON.parse(await relay.command(["appserver", "key", "add", "shop0", "--json"])).bearer;
  }

  async fetchKeys(): Promise<void> {
    const answer = await fetch(`http://127.0.0.1:${this.port}/.well-known/jwks.json`);
    this.keys = (await answer.json()) as JSONWebKeySet;
  }
}

async function lab(protocol: Protocol, options: Partial<ShopOptions> = {}) {
  const doors = new Doors();
  doors.port = await freePort();
  const shop = await openShop(protocol, { services: ["wine"], ...options }, () => doors);
  closers.push(() => shop.close());
  const relay = await RelayChild.create(() => ({
    ...settings(shop, doors.port, doors.port),
    httpAppServers: { retry: { firstS: 0.1, mostS: 0.2 } },
    drainS: 1,
  }));
  closers.push(() => relay.remove());
  await doors.learn(relay);
  await relay.start();
  await doors.fetchKeys();
  const client = await openClient(() => relay.port);
  return { relay, shop, client };
}

const settings = (shop: Shop, http: number, issuer: number, key?: string) => ({
  http: { listen: `127.0.0.1:${http}` },
  identity: { url: `http://127.0.0.1:${issuer}`, ...(key && { key }) },
  tariffs: [{ id: "visit", currency: "EUR", setupFee: "0.10" }],
  services: [{ id: "wine", tariff: "visit" }],
  appServers: [{ id: "shop0", uri: shop.uri, services: ["wine"] }],
});

const thing = (id: string) => ({ id, item: id, unitPrice: "0.50", currency: "EUR" });

async function itemsOf(relay: RelayChild): Promise<string[]> {
  await relay.end();
  return (await relay.bill()).services.flatMap(({ sessions }) =>
    sessions.flatMap(({ time, items }) => [`by ${time?.endedBy}`, ...items.map(({ item }) => item)]),
  );
}

/** Resolves when the charge at the end is on the bill. */
async function charged(relay: RelayChild): Promise<void> {
  const bill = () => relay.command(["bill", "alice", "--json"]);
  await until(async () => /"item": ?"end"/.test(await bill()));
}

/** Two nodes, of which the second one bills; the client writes to the first until it is told otherwise. */
async function cluster(protocol: Protocol) {
  const folder = mkdtempSync(join(tmpdir(), "tg-key-"));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const key = join(folder, "identity-key.pem");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  const [doors, ports] = [new Doors(), [await freePort(), await freePort()] as const];
  doors.port = ports[1];
  const shop = await openShop(protocol, { services: ["wine"], atEnd: () => [thing("end")] }, () => doors);
  closers.push(() => shop.close());
  const config = (node: number) => ({
    ...settings(shop, ports[node]!, ports[1], key),
    httpAppServers: { retry: { firstS: 0.1, mostS: 0.2 } },
  });
  const [one, two] = (await startNodes({ size: 2, config }, closers)) as [RelayChild, RelayChild];
  await doors.learn(two);
  await doors.fetchKeys();
  let at = one;
  const client = await openClient(() => at.port);
  const writeTo = (node: RelayChild) => {
    at = node;
  };
  return { one, two, shop, client, writeTo };
}

describe.each(PROTOCOLS)(
  "a relay that is killed, with an app server that speaks %s",
  { timeout: 60_000 },
  (protocol) => {
    it("goes on with the session: the app server charges and hangs up as if nothing had been (P7)", async () => {
      const { relay, shop, client } = await lab(protocol);
      await call(client);
      await until(() => shop.visits.length === 1);
      const [visit] = shop.visits;
      await visit!.charge(thing("before"));
      await relay.kill();
      await relay.start();
      await visit!.charge(thing("after"));
      const ended = visit!.end();
      client.answer(await client.nextRequest("BYE"), 200);
      await ended;
      expect(await itemsOf(relay)).toEqual(["by server", "before", "after"]);
    });

    it("goes on with the session: the client hangs up, and the app server charges at the end (P7, M16)", async () => {
      const { relay, shop, client } = await lab(protocol, { atEnd: () => [thing("end")] });
      const { hangUp } = await call(client);
      await until(() => shop.visits.length === 1);
      await shop.visits[0]!.charge(thing("before")); // when that is on disk, so is the session
      await relay.kill();
      await relay.start();
      hangUp(3);
      await client.nextResponse(200);
      await shop.visits[0]!.ended;
      expect(await itemsOf(relay)).toEqual(["by client", "before", "end"]);
    });

    it("leaves the session to another node of the cluster (P3)", { timeout: 90_000 }, async ({ skip }) => {
      const why = withoutCluster();
      skip(why !== undefined, why);
      const { one, two, shop, client, writeTo } = await cluster(protocol);
      const { hangUp } = await call(client);
      await until(() => shop.visits.length === 1);
      const { hangUp: another } = await call(client);
      await until(() => shop.visits.length === 2);
      if (protocol === "http") {
        // The first node has the session, and the second one is asked.
        const [, second] = shop.visits;
        await expect
          .poll(() =>
            second!.charge(thing("asked")).then(
              () => true,
              () => false,
            ),
          )
          .toBe(true);
        const ended = second!.end();
        client.answer(await client.nextRequest("BYE"), 200);
        await ended;
      } else {
        another(3);
        await client.nextResponse(200);
      }
      await shop.visits[1]!.ended;
      // The copy of the session is at the other node.
      await expect
        .poll(
          async () => JSON.parse(await two.command(["nodes", "--json"])) as { self: boolean; standbys?: number }[],
          {
            timeout: 20_000,
          },
        )
        .toContainEqual(expect.objectContaining({ self: true, standbys: 1 }));
      await one.kill();
      writeTo(two);
      await two.says(/taken up|takes? up/);
      hangUp(4);
      await client.nextResponse(200);
      await shop.visits[0]!.ended;
      const lines = await billed(two, 2);
      expect(lines.flatMap(({ items }) => items.map(({ item }) => item)).sort()).toContain("end");
    });
  },
);

describe("what an app server that speaks HTTP is to be told", { timeout: 60_000 }, () => {
  it("outlives the relay: it is told by the next process, in order, and its charges are made once (P7, M16)", async () => {
    const { relay, shop, client } = await lab("http", { atEnd: () => [thing("end")] });
    const http = shop as HttpShop;
    http.failsWith = 503;
    const { hangUp } = await call(client);
    hangUp(3);
    await client.nextResponse(200);
    await until(() => http.told.filter(({ type }) => type === "session.established").length > 1);
    await relay.kill();
    http.failsWith = undefined;
    http.told.length = 0;
    await relay.start();
    await charged(relay);
    expect(http.told.map(({ type }) => type)).toEqual(["session.established", "session.ended"]);
    expect(await itemsOf(relay)).toEqual(["by client", "end"]);
  });

  it("is told by another node where the one that was to tell it does not come back (P3, M16)", {
    timeout: 90_000,
  }, async ({ skip }) => {
    const why = withoutCluster();
    skip(why !== undefined, why);
    const { one, two, shop, client } = await cluster("http");
    const http = shop as HttpShop;
    const { hangUp } = await call(client);
    await until(() => http.visits.length === 1);
    http.failsWith = 503;
    hangUp(3);
    await client.nextResponse(200);
    const ends = () => http.told.filter(({ type }) => type === "session.ended");
    await until(() => ends().length > 1);
    await one.kill();
    http.failsWith = undefined;
    await two.says(/what a node that is gone could not tell/);
    await charged(two);
    expect(new Set(ends().map(({ id }) => id)).size).toBe(1);
    const [session] = await billed(two, 1);
    expect(session!.items.map(({ item }) => item)).toEqual(["end"]);
  });

  it("is charged once if the relay dies just when it has the answer (M16)", async () => {
    let dies = () => {};
    const told = new Promise<void>((resolve) => {
      dies = resolve;
    });
    const atEnd = () => {
      setImmediate(dies);
      return [thing("end")];
    };
    const { relay, shop, client } = await lab("http", { atEnd });
    const { hangUp } = await call(client);
    await until(() => shop.visits.length === 1);
    await shop.visits[0]!.charge(thing("before"));
    hangUp(3);
    await told;
    await relay.kill();
    await relay.start();
    await charged(relay);
    expect((await itemsOf(relay)).filter((line) => line === "end")).toEqual(["end"]);
  });
});
