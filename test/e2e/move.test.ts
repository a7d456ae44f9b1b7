import { afterEach, describe, expect, it } from "vitest";
import { type AppSession, type ClientSession, createClient, type ServiceHandler, serve } from "../../src/sdk/index.ts";
import { until } from "../support/until.ts";
import { DOMAIN, openPortal, PASSWORD, USER } from "./portal.ts";

/* Fig. 9 on SIP.js: a client of a wine shop moves on to a beer shop at another server, by REFER (M23, M24). */

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const accepts = (url: string, sessions: AppSession[] = []): ServiceHandler => {
  return async (request) => void sessions.push(await request.accept({ url }));
};

async function open(beer: ServiceHandler, wine: ServiceHandler = accepts("http://wine/"), onMove?: "keep") {
  const servers = await Promise.all(
    [{ wine }, { beer }].map((services) => serve({ listen: { host: "127.0.0.1", port: 0 }, services })),
  );
  const portal = await openPortal({
    config: {
      tariffs: [{ id: "visit", currency: "EUR", setupFee: "0.25" }],
      services: [
        { id: "wine", tariff: "visit", ...(onMove && { onMove }) },
        { id: "beer", tariff: "visit" },
      ],
      appServers: [
        { id: "vintner", uri: servers[0]!.uri, services: ["wine"], mayReferTo: ["brewer"] },
        { id: "brewer", uri: servers[1]!.uri, services: ["beer"] },
      ],
    },
  });
  const brought: ClientSession[] = [];
  const alice = createClient({
    relay: portal.uri,
    user: USER,
    password: PASSWORD,
    domain: DOMAIN,
    onSession: (session) => void brought.push(session),
  });
  closers.push(
    ...servers.map((server) => () => server.close()),
    () => portal.close(),
    () => alice.close(),
  );
  return { portal, alice, brought };
}

describe("a client on SIP.js", () => {
  it("moves to a second app server, signed in again; the first session ends, and both are on the bill (M23)", async () => {
    const { portal, alice } = await open(async (request) => {
      expect(request.description?.content).toBe("<beer/>");
      await request.accept({ url: "http://beer/" });
    });
    const wine = await alice.request("wine");
    const states: number[] = [];
    const beer = await wine.move("beer", { description: "<beer/>", onProgress: (status) => states.push(status) });
    expect([beer.service, beer.access]).toEqual(["beer", "http://beer/"]);
    expect(await wine.ended).toMatchObject({ by: "remote", reason: expect.stringContaining("moved to beer") });
    expect(states).toEqual([100, 180]);
    expect(await beer.end()).toMatchObject({ status: 200 });
    const bill = await portal.bill();
    expect(bill.services.map(({ service, sessions }) => [service, sessions.length])).toEqual([
      ["beer", 1],
      ["wine", 1],
    ]);
    expect(bill.calls.map(({ parts }) => parts.map(({ service }) => service))).toEqual([["wine", "beer"]]);
  });

  it.each([
    ["it asks for that", undefined, { keep: true }],
    ["the service is so", "keep", {}],
  ] as const)("keeps the first session where %s; each ends by itself (M24)", async (_why, onMove, options) => {
    const { portal, alice } = await open(accepts("http://beer/"), undefined, onMove);
    const wine = await alice.request("wine");
    const beer = await wine.move("beer", options);
    expect(await beer.end()).toMatchObject({ by: "local", status: 200 });
    const again = await wine.move("beer", options);
    expect(await wine.end()).toMatchObject({ by: "local", status: 200 });
    expect(await again.end()).toMatchObject({ by: "local", status: 200 });
    const { calls } = await portal.bill();
    expect(calls.map(({ parts, totals }) => [parts.map(({ service }) => service), totals[0]?.amount])).toEqual([
      [["wine", "beer", "beer"], "0.75"],
    ]);
  });

  it("is told why a move came to nothing, and its session goes on", async () => {
    const { alice } = await open((request) => request.refuse(486));
    const wine = await alice.request("wine");
    await expect(wine.move("beer")).rejects.toMatchObject({ status: 486 });
    await expect(wine.move("nothing")).rejects.toMatchObject({ status: 404 });
    expect(await wine.end()).toMatchObject({ by: "local", status: 200 });
  });

  it("is sent on by an app server to a partner that the operator allows (M23)", async () => {
    const sessions: AppSession[] = [];
    const { alice, brought } = await open(accepts("http://beer/"), accepts("http://wine/", sessions));
    const wine = await alice.request("wine");
    await until(() => sessions.length > 0);
    await expect(sessions[0]!.refer("sip:nothing@portal.example")).rejects.toMatchObject({ status: 404 });
    await sessions[0]!.refer(`sip:beer@${DOMAIN}`);
    await wine.ended;
    await until(() => brought.length > 0);
    expect([brought[0]!.service, brought[0]!.access]).toEqual(["beer", "http://beer/"]);
    expect(await brought[0]!.end()).toMatchObject({ by: "local", status: 200 });
  });
});
