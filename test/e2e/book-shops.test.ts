import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import type { AppSession, ClientSession, ServiceHandler } from "../../src/sdk/index.ts";
import { until } from "../support/until.ts";
import { accepts, billed, openHouses } from "./houses.ts";

/* Two book shops answer one INVITE, client and app servers on SIP.js (M25, fig. 10). */

async function openPage(title: string): Promise<string> {
  const web = createServer((_request, response) => response.end(title));
  web.listen(0, "127.0.0.1");
  await once(web, "listening");
  onTestFinished(() => void web.close());
  return `http://127.0.0.1:${(web.address() as AddressInfo).port}/`;
}

async function openShops() {
  const sessions: AppSession[] = [];
  const pages = await Promise.all(["the north book shop", "the south book shop"].map(openPage));
  const opened = await openHouses(...pages.map((url) => ({ books: accepts(url, sessions) })));
  return { ...opened, sessions };
}

/** The second shop takes its time: until the test calls `open`. */
async function openSlowShop() {
  const sessions: AppSession[] = [];
  let open!: () => void;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const slow: ServiceHandler = async (request) => {
    await opened;
    sessions.push(await request.accept({ url: "http://slow/" }));
  };
  return { ...(await openHouses({ books: accepts("http://quick/") }, { books: slow })), sessions, open };
}

describe("two book shops that answer one INVITE of SIP.js (M25, fig. 10)", () => {
  it("give the client two sessions: both pages open, each is charged and ends for itself", async () => {
    const { portal, alice, sessions } = await openShops();
    const both = await alice.requestAll("books", { max: 2 });
    const [one, other] = both;
    expect(both.map(({ id }) => id)).toEqual([one!.id, one!.id]);
    const pages = await Promise.all(both.map(async ({ access }) => (await fetch(access!)).text()));
    expect(pages.sort()).toEqual(["the north book shop", "the south book shop"]);
    await until(() => sessions.length === 2);
    for (const session of sessions) await session.charge({ item: "Atlas", unitPrice: "9.00", currency: "EUR" });
    expect(await one!.end()).toMatchObject({ by: "local", status: 200 });
    const [first, second] = await whoEndsFirst(sessions);
    expect(await first.ended).toMatchObject({ by: "remote" });
    await second.charge({ item: "Bookmark", unitPrice: "1.00", currency: "EUR" }); // it goes on
    expect(await other!.end()).toMatchObject({ by: "local", status: 200 });
    const { sessions: lines } = await billed(portal);
    const [north, south] = lines.map((line) => line.slice("books by server0: ".length));
    expect([north, south].sort()).toEqual(["0.10, Atlas 9.00", "0.10, Atlas 9.00, Bookmark 1.00"]);
    expect(lines.map((line) => line.slice(0, "books by server0".length))).toEqual([
      "books by server0",
      "books by server1",
    ]);
  });

  it("of which the client wants one only: the other is acknowledged and ended, and the first goes on (E 7)", async () => {
    const { alice, sessions } = await openShops();
    const session = await alice.request("books");
    await until(() => sessions.length === 2); // both have their ACK
    const [unwanted, wanted] = await whoEndsFirst(sessions);
    expect((await unwanted.ended).by).toBe("remote");
    await wanted.charge({ item: "Atlas", unitPrice: "9.00", currency: "EUR" });
    expect(await session.end()).toMatchObject({ by: "local", status: 200 });
    expect((await wanted.ended).by).toBe("remote");
  });

  it("one of them late: it is told of where the client still wants it", async () => {
    const { alice, sessions, open } = await openSlowShop();
    const told: ClientSession[] = [];
    const onSession = (session: ClientSession) => void told.push(session);
    const first = await alice.requestAll("books", { waitMs: 20, onSession });
    expect(first.map(({ access }) => access)).toEqual(["http://quick/"]);
    open();
    await until(() => told.length === 2 && sessions.length === 1);
    expect(told.map(({ access }) => access)).toEqual(["http://quick/", "http://slow/"]);
    expect(await told[1]!.end()).toMatchObject({ status: 200 });
    expect(await first[0]!.end()).toMatchObject({ status: 200 });
  });

  it.each([
    ["the wait is over", { waitMs: 20 }],
    ["it has as many as it wants", { max: 1, onSession: () => {} }],
  ])("one of them late: it is acknowledged and hung up on where %s", async (_why, options) => {
    const { alice, sessions, open } = await openSlowShop();
    const [session, ...others] = await alice.requestAll("books", options);
    expect(others).toEqual([]);
    open();
    await until(() => sessions.length === 1);
    expect((await sessions[0]!.ended).by).toBe("remote");
    expect(await session!.end()).toMatchObject({ status: 200 });
  });

  it("both refuse: the client is told so", async () => {
    const { alice } = await openHouses(
      { books: (request) => request.refuse(486) },
      { books: (request) => request.refuse(486) },
    );
    await expect(alice.requestAll("books")).rejects.toMatchObject({ status: 486 });
    await expect(alice.requestAll("books", { max: 0 })).rejects.toThrow(RangeError);
  });
});

/** The one of two that ends first, then the other. */
async function whoEndsFirst([one, other]: readonly AppSession[]): Promise<[AppSession, AppSession]> {
  return Promise.race([
    one!.ended.then((): [AppSession, AppSession] => [one!, other!]),
    other!.ended.then((): [AppSession, AppSession] => [other!, one!]),
  ]);
}
