import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import {
  type AppServer,
  type AppSession,
  type Client,
  type ClientSession,
  createClient,
  type ServiceHandler,
  SipError,
  serve,
} from "../../src/sdk/index.ts";
import { DOMAIN, lines, openPortal, PASSWORD, type Portal, USER } from "./portal.ts";

/*
 * Client and app server on SIP.js, a stack that the relay does not share, and the relay between them: real sockets,
 * over TCP.
 */

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface World {
  readonly portal: Portal;
  readonly shop: AppServer;
  readonly alice: Client;
  clientOf(user: string, password: string): Client;
}

const TARIFF = { id: "lesson", currency: "EUR", setupFee: "0.25", price: "0.10", incrementS: 60 };

async function open(services: Record<string, ServiceHandler>, config: object = {}): Promise<World> {
  const shop = await serve({ listen: { host: "127.0.0.1", port: 0 }, services });
  closers.push(() => shop.close());
  const portal = await openPortal({
    config: {
      tariffs: [TARIFF],
      services: [
        { id: "wine", limits: { session: "500", currency: "EUR" } },
        { id: "english", tariff: TARIFF.id },
        { id: "unoffered" },
      ],
      appServers: [{ id: "shop", uri: shop.uri, services: Object.keys(services) }],
      ...config,
    },
  });
  closers.push(() => portal.close());
  const clientOf = (user: string, password: string) => {
    const client = createClient({ relay: portal.uri, user, password, domain: DOMAIN });
    closers.push(() => client.close());
    return client;
  };
  return { portal, shop, alice: clientOf(USER, PASSWORD), clientOf };
}

/** Accepts, and hands the session over to the test. */
function accepting(acceptance?: { url: string }): { handler: ServiceHandler; session: Promise<AppSession> } {
  const { promise: session, settle } = later<AppSession>();
  return { handler: async (request) => settle(await request.accept(acceptance)), session };
}

function later<T>(): { promise: Promise<T>; settle: (value: T) => void } {
  let settle!: (value: T) => void;
  const promise = new Promise<T>((resolve) => {
    settle = resolve;
  });
  return { promise, settle };
}

/** A TCP connection's way to the relay that can be cut. */
async function wire(to: number): Promise<{ port: number; cut(): void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const onward = connect(to, "127.0.0.1");
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      sockets.add(one);
      one.on("error", () => {});
      one.pipe(other);
    }
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  closers.push(async () => {
    cut();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, cut };
}

const statusOf = (request: Promise<unknown>): Promise<unknown> =>
  request.then(
    () => "accepted",
    (error: unknown) => (error instanceof SipError ? error.status : error),
  );

const wine = (item: string, unitPrice: string, quantity = "1", currency = "EUR") => ({
  item,
  unitPrice,
  quantity,
  currency,
});

describe("a session of SIP.js on both sides", () => {
  it("brings the URL of the service (M6), takes charges by INFO (M14) and in the 200 to BYE (M16), and puts them on the bill (M18)", async () => {
    const { handler, session } = accepting({ url: "http://127.0.0.1:8080/shop" });
    const { portal, shop, alice } = await open({ wine: handler });
    const progress: number[] = [];
    const visit = await alice.request("wine", {
      description: "<request><category>wine</category></request>",
      onProgress: (status) => progress.push(status),
    });
    expect(visit.access).toBe("http://127.0.0.1:8080/shop");
    expect(progress).toContain(180);

    const sale = await session;
    expect(sale.user).toBe(`sip:${USER}@${DOMAIN}`);
    expect(portal.relay.sessions()).toMatchObject([{ user: USER, service: "wine", appServer: "shop" }]);
    const ids = await sale.charge(wine("Rioja", "12.50", "2"), wine("Barolo", "34.00"));
    expect(ids).toHaveLength(2);
    // The same id again is the same charge (decision 9).
    await sale.charge({ id: ids[0]!, ...wine("Rioja", "12.50", "2") });
    sale.onEnd(() => [wine("Delivery", "4.90")]);

    const ending = await visit.end();
    expect(ending).toEqual({ by: "local", status: 200 }); // The client has seen nothing of the charges.
    expect((await sale.ended).by).toBe("remote");
    expect(shop.sessions).toBe(0);
    const bill = await portal.bill();
    expect(lines(bill).sort()).toEqual([
      "1 x Barolo by info: 34.00 EUR",
      "1 x Delivery by bye: 4.90 EUR",
      "2 x Rioja by info: 25.00 EUR",
      "wine, ended by client: 0",
    ]);
    expect(bill.totals).toEqual([{ currency: "EUR", amount: "63.90", due: "63.90" }]);
  });

  it("is charged by its time when the app server hangs up (M11, M12, M13)", async () => {
    const { handler, session } = accepting();
    const { portal, alice } = await open({ english: handler });
    const lesson = await alice.request("english");
    const began = Date.now();
    const ending = await (await session).end();
    expect(ending).toEqual({ by: "local", status: 200 });
    expect((await lesson.ended).by).toBe("remote");
    const elapsedMs = Date.now() - began;
    const bill = await portal.bill();
    expect(lines(bill)).toEqual(["english, ended by server: 0.35 EUR"]);
    const { durationMs } = bill.services[0]!.sessions[0]!.time!;
    expect(durationMs).toBeGreaterThanOrEqual(0);
    expect(durationMs).toBeLessThanOrEqual(elapsedMs + 50);
  });

  it("refuses charges that may not be made, with the reason, and the session goes on (M14)", async () => {
    const { handler, session } = accepting();
    const { portal, alice } = await open({ wine: handler });
    const visit = await alice.request("wine");
    const sale = await session;
    await expect(sale.charge(wine("Cellar", "500.01"))).rejects.toMatchObject({ status: 403 });
    await expect(sale.charge(wine("Sake", "900", "1", "JPY"))).rejects.toMatchObject({ status: 403 });
    // Its reason cites what was wrong, and SIP.js drops a response whose reason phrase is not as RFC 3261 §25.1 has it.
    await expect(sale.charge(wine("Water", "free"))).rejects.toMatchObject({
      status: 400,
      reason: expect.stringContaining("'free'"),
    });
    await sale.charge(wine("Cork", "0.01"));
    await visit.end();
    expect(lines(await portal.bill())).toEqual(["wine, ended by client: 0", "1 x Cork by info: 0.01 EUR"]);
  });

  it("holds several at once, over one connection, each with its own charges", async () => {
    const endings: Promise<unknown>[] = [];
    const { portal, alice } = await open({
      wine: async (request) => {
        const sale = await request.accept();
        endings.push(sale.ended);
        await sale.charge(wine(request.header("subject") ?? "?", "1.00"));
        void sale.end();
      },
    });
    const visits = await Promise.all(
      Array.from({ length: 20 }, (_, i) => alice.request("wine", { headers: { Subject: `bottle ${i}` } })),
    );
    await Promise.all(visits.map((visit: ClientSession) => visit.ended));
    await Promise.all(endings);
    expect(endings).toHaveLength(20);
    expect(portal.relay.sessions()).toEqual([]);
    const bill = await portal.bill();
    const items = bill.services.flatMap(({ sessions }) => sessions.map((one) => one.items.map(({ item }) => item)));
    expect(items.flat().sort()).toEqual(Array.from({ length: 20 }, (_, i) => `bottle ${i}`).sort());
    expect(items.every((of) => of.length === 1)).toBe(true);
    expect(bill.totals[0]?.due).toBe("20.00");
  });
});

describe("what a SIP.js client is refused", () => {
  it("401 with a wrong password or as nobody, and the app server is not asked (M2)", async () => {
    let asked = 0;
    const { portal, clientOf } = await open({ wine: (request) => request.refuse(400 + asked++) });
    expect(await statusOf(clientOf(USER, "wrong").request("wine"))).toBe(401);
    expect(await statusOf(clientOf("mallory", PASSWORD).request("wine"))).toBe(401);
    expect(asked).toBe(0);
    expect(lines(await portal.bill())).toEqual([]);
  });

  it("404 for a service that nobody knows, or that nobody offers (M4)", async () => {
    const { alice } = await open({ wine: (request) => request.refuse(500) });
    expect(await statusOf(alice.request("beer"))).toBe(404);
    expect(await statusOf(alice.request("unoffered"))).toBe(404);
  });

  it("500 when the app server says 503, with its words: the relay is there (M5; RFC 3261 §16.7, step 6)", async () => {
    const { portal, alice } = await open({ wine: (request) => request.refuse(503, "The cellar is full") });
    const refusal = alice.request("wine").catch((error: unknown) => error);
    expect(await refusal).toMatchObject({ status: 500, reason: "The cellar is full" });
    expect(portal.relay.sessions()).toEqual([]);
    expect(lines(await portal.bill())).toEqual([]);
  });

  it("500 when the only app server is not there (M5; RFC 3261 §16.9)", async () => {
    const { shop, alice } = await open({ wine: (request) => request.refuse(500) });
    await shop.close();
    expect(await statusOf(alice.request("wine"))).toBe(500);
  });

  it("487 when it has given up, and the app server is told (M8: CANCEL)", async () => {
    const { promise: given, settle } = later<void>();
    const giveUp = new AbortController();
    const { portal, alice } = await open({
      wine: (request) => {
        request.signal.addEventListener("abort", () => settle());
        giveUp.abort();
      },
    });
    expect(await statusOf(alice.request("wine", { signal: giveUp.signal }))).toBe(487);
    await given;
    expect(lines(await portal.bill())).toEqual([]);
    expect(portal.relay.sessions()).toEqual([]);
    expect(portal.relay.counters).toMatchObject({ cancelled: 1, established: 0 });
  });
});

describe("a SIP.js client that goes away", () => {
  it("in good order: BYE to the app server, and the session is on the bill (M11, M12)", async () => {
    const { handler, session } = accepting();
    const { portal, alice } = await open({ english: handler });
    await alice.request("english");
    const lesson = await session;
    await alice.close();
    expect((await lesson.ended).by).toBe("remote");
    expect(lines(await portal.bill())).toEqual(["english, ended by client: 0.35 EUR"]);
  });

  it("with its connection cut: the relay notices, hangs up on the app server and stops the clock (M12)", async () => {
    const { handler, session } = accepting();
    const { portal } = await open({ english: handler });
    const { port, cut } = await wire(portal.tcp);
    const relay = `sip:127.0.0.1:${port};transport=tcp`;
    const client = createClient({ relay, user: USER, password: PASSWORD, domain: DOMAIN, reconnectS: 0 });
    closers.push(() => client.close());
    const visit = await client.request("english");
    const lesson = await session;
    cut();
    expect((await visit.ended).by).toBe("connection");
    const ending = await lesson.ended;
    expect(ending.by).toBe("remote");
    expect(ending.reason).toContain("client is gone");
    expect(lines(await portal.bill())).toEqual([
      expect.stringMatching(/^english, ended by relay: client is gone.*: 0\.35 EUR$/),
    ]);
  });
});
