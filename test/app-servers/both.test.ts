// biome-ignore-all lint/suspicious/noThenProperty: a rule says when and then
import { describe, expect, it } from "vitest";
import { micros } from "../../src/charging/credit/store.ts";
import { money } from "../../src/charging/money/money.ts";
import { registerUser } from "../../src/directory/users.ts";
import type { Store } from "../../src/store/types.ts";
import { DOMAIN, lines, PASSWORD, USER } from "../e2e/portal.ts";
import { until } from "../support/until.ts";
import { openLab } from "./lab.ts";
import { type Decision, PROTOCOLS } from "./shops.ts";

/* What an app server can do, and what becomes of it, whether it speaks SIP or HTTP. */

const BOTTLE = { item: "Riesling", unitPrice: "12.50", currency: "EUR" };
const refusing = (refuse: number, reason?: string) => (): Decision => ({ refuse, ...(reason && { reason }) });
const accepting = (): Decision => ({ url: "http://shop.example/" });

/** The service and what was paid for its time and for each thing, in whichever way it was charged. */
const paid = (bill: Parameters<typeof lines>[0]) =>
  lines(bill).map((line) => line.replace(/ by (info|direct|bye)/, ""));

async function prepaid(store: Store, amount: string): Promise<void> {
  await registerUser(store, {
    id: USER,
    realm: DOMAIN,
    password: PASSWORD,
    md5: true,
    prepaid: { currency: "EUR" },
    replace: true,
  } as Parameters<typeof registerUser>[1]);
  await store.credit!.open(USER, "EUR");
  const topup = { user: USER, id: "topup:1", kind: "topup", currency: "EUR", at: Date.now() } as const;
  await store.credit!.post({ ...topup, amount: micros(money(amount, "EUR")) });
}

describe.each(PROTOCOLS)("an app server that speaks %s", { timeout: 30_000 }, (protocol) => {
  it("is told who asks for what, and gives the URL that the client opens (M5, M6)", async () => {
    const { alice, shops, portal } = await openLab(protocol, [{ services: ["wine"] }], {
      rules: [{ name: "wine", when: {}, then: { service: "wine", attributes: { shelf: "red" } } }],
    });
    const session = await alice.request("wine", { description: '<service name="wine"/>' });
    expect(session.access).toBe("http://shop.example/");
    expect(shops[0]!.asked).toEqual([
      {
        service: "wine",
        user: "sip:alice@portal.example",
        description: '<service name="wine"/>',
        attributes: { shelf: "red" },
      },
    ]);
    await until(() => shops[0]!.visits.length === 1);
    expect(await session.end()).toMatchObject({ by: "local", status: 200 });
    await shops[0]!.visits[0]!.ended;
    expect(lines(await portal.bill())).toEqual(["wine, ended by client: 0.10 EUR"]);
  });

  it.each([400, 402, 403, 404, 408, 410, 480, 484, 486, 488, 500, 501, 504])(
    "refuses with %i, and the client hears that (M5)",
    async (status) => {
      const { alice } = await openLab(protocol, [{ services: ["wine"], decide: refusing(status, "Not Today") }]);
      const refused = { status, reason: "Not Today" };
      await expect(alice.request("wine")).rejects.toMatchObject(refused);
    },
  );

  it("refuses with 503, and the client hears 500, since 503 would be the relay's own word (decision 22)", async () => {
    const { alice } = await openLab(protocol, [{ services: ["wine"], decide: refusing(503) }]);
    await expect(alice.request("wine")).rejects.toMatchObject({ status: 500 });
  });

  it("refuses with words that no SIP message may have there, and the client hears it all the same (RFC 3261 §25.1)", async () => {
    const { alice } = await openLab(protocol, [{ services: ["wine"], decide: refusing(486, '<b>Not</b> "today"') }]);
    const refused = { status: 486, reason: "?b?Not?/b? 'today'" };
    await expect(alice.request("wine")).rejects.toMatchObject(refused);
  });

  it("refuses, and the next one is asked (M4)", async () => {
    const shops = [
      { services: ["wine"], decide: refusing(486) },
      { services: ["wine"], decide: accepting },
    ];
    const { alice, shops: opened } = await openLab(protocol, shops);
    expect((await alice.request("wine")).access).toBe("http://shop.example/");
    expect(opened.map(({ asked }) => asked.length)).toEqual([1, 1]);
  });

  it("says nothing, and the next one is asked when its time is up", async () => {
    const shops = [
      { services: ["wine"], decide: (): Decision => "silent" },
      { services: ["wine"], decide: accepting },
    ];
    const { alice } = await openLab(protocol, shops, {
      session: { probeS: 0, silentS: 0.2 },
      services: [{ id: "wine", ringS: 1 }],
    });
    expect((await alice.request("wine")).access).toBe("http://shop.example/");
  });

  it("is away, and the next one is asked", async () => {
    const shops = [{ services: ["wine"] }, { services: ["wine"] }];
    const { alice, shops: opened } = await openLab(protocol, shops);
    await opened[0]!.close();
    expect((await alice.request("wine")).access).toBe("http://shop.example/");
    expect(opened.map(({ asked }) => asked.length)).toEqual([0, 1]);
  });

  it("gets no more sessions at once than its capacity says", async () => {
    const { alice, shops } = await openLab(protocol, [{ services: ["wine"] }], {}, { appServer: { capacity: 1 } });
    const session = await alice.request("wine");
    await expect(alice.request("wine")).rejects.toMatchObject({ status: 503 });
    await session.end();
    await alice.request("wine");
    expect(shops[0]!.asked).toHaveLength(2);
  });

  it("answers 503 with Retry-After, and rests (RFC 3261 §21.5.4)", async () => {
    const decide = (): Decision => ({ refuse: 503, retryAfter: 5 });
    const { alice, shops, portal } = await openLab(protocol, [{ services: ["wine"], decide }]);
    await expect(alice.request("wine")).rejects.toMatchObject({ status: 500 });
    expect(portal.relay.counters.appServerRests).toBe(1);
    await expect(alice.request("wine")).rejects.toMatchObject({ status: 480 });
    expect(shops[0]!.asked).toHaveLength(1);
  });

  it("is found to be away by the health checks, and gets no sessions until it is back", async () => {
    const { alice, portal, shops } = await openLab(protocol, [{ services: ["wine"] }], {
      health: { intervalS: 0.05, failures: 1 },
    });
    await alice.request("wine");
    await shops[0]!.close();
    await until(() => portal.log().includes("app server is down"));
    await expect(alice.request("wine")).rejects.toMatchObject({ status: 480 });
  });

  it("is one of two that are asked at once: both may serve, each for itself (M25)", async () => {
    const shops = [{ services: ["books"] }, { services: ["books"] }];
    const {
      alice,
      shops: opened,
      portal,
    } = await openLab(protocol, shops, { services: [{ id: "books", fork: "all" }] });
    const both = await alice.requestAll("books", { max: 2 });
    expect(both).toHaveLength(2);
    await until(() => opened.every(({ visits }) => visits.length === 1));
    await opened[0]!.visits[0]!.charge(BOTTLE);
    for (const session of both) await session.end();
    expect(paid(await portal.bill()).sort()).toEqual([
      "1 x Riesling: 12.50 EUR",
      "books, ended by client: 0.10 EUR",
      "books, ended by client: 0.10 EUR",
    ]);
  });

  it("loses a race: the first of two wins, and the other is told that nothing comes of it (M8)", async () => {
    let open = () => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    const slow = async () => {
      await opened;
      return accepting();
    };
    const shops = [{ services: ["wine"], decide: slow }, { services: ["wine"] }];
    const { alice, portal } = await openLab(protocol, shops, { services: [{ id: "wine", fork: "first" }] });
    const session = await alice.request("wine");
    open();
    await session.end();
    expect(paid(await portal.bill())).toEqual(["wine, ended by client: 0.10 EUR"]);
  });

  it("charges while the session lasts, and at its end (M14, M16)", async () => {
    const atEnd = () => [{ id: "end", item: "Corkage", unitPrice: "4.00", currency: "EUR" }];
    const { alice, shops, portal } = await openLab(protocol, [{ services: ["wine"], atEnd }]);
    const session = await alice.request("wine");
    await until(() => shops[0]!.visits.length === 1);
    await shops[0]!.visits[0]!.charge({ ...BOTTLE, quantity: 2 });
    await session.end();
    await shops[0]!.visits[0]!.ended;
    expect(paid(await portal.bill()).sort()).toEqual([
      "1 x Corkage: 4.00 EUR",
      "2 x Riesling: 25.00 EUR",
      "wine, ended by client: 0.10 EUR",
    ]);
  });

  it("cannot charge more than the operator allows", async () => {
    const { alice, shops, portal } = await openLab(protocol, [{ services: ["wine"] }], {
      services: [{ id: "wine", limits: { currency: "EUR", charge: "10.00" } }],
    });
    await alice.request("wine");
    await until(() => shops[0]!.visits.length === 1);
    await expect(shops[0]!.visits[0]!.charge(BOTTLE)).rejects.toMatchObject({ status: 403 });
    await shops[0]!.visits[0]!.charge({ ...BOTTLE, unitPrice: "9.00" });
    expect(paid(await portal.bill())).toContain("1 x Riesling: 9.00 EUR");
  });

  it("ends the session (M11)", async () => {
    const { alice, shops, portal } = await openLab(protocol, [{ services: ["wine"] }]);
    const session = await alice.request("wine");
    await until(() => shops[0]!.visits.length === 1);
    await shops[0]!.visits[0]!.end();
    expect(await session.ended).toMatchObject({ by: "remote" });
    await shops[0]!.visits[0]!.ended;
    expect(paid(await portal.bill())).toEqual(["wine, ended by server: 0.10 EUR"]);
  });

  it("is asked for another service within the session (M20)", async () => {
    const { alice, shops, portal } = await openLab(protocol, [{ services: ["wine", "beer"] }]);
    const session = await alice.request("wine");
    await until(() => shops[0]!.visits.length === 1);
    await session.change("beer");
    expect(session.access).toBe("http://shop.example/");
    const [visit] = shops[0]!.visits;
    await until(() => visit!.service() === "beer");
    await visit!.charge(BOTTLE);
    await session.change("wine", { method: "UPDATE" });
    await until(() => visit!.service() === "wine");
    await session.end();
    await visit!.ended;
    expect(paid(await portal.bill()).sort()).toEqual([
      "1 x Riesling: 12.50 EUR",
      "beer, ended by change: 0.00 EUR",
      "wine, ended by change: 0.10 EUR",
      "wine, ended by client: 0.00 EUR",
    ]);
  });

  it("refuses a change, and the session goes on as it was (M20)", async () => {
    const decide = ({ service }: { service: string }): Decision => (service === "beer" ? { refuse: 486 } : accepting());
    const { alice, shops } = await openLab(protocol, [{ services: ["wine", "beer"], decide }]);
    const session = await alice.request("wine");
    await until(() => shops[0]!.visits.length === 1);
    await expect(session.change("beer")).rejects.toMatchObject({ status: 486 });
    expect(session.service).toBe("wine");
    await shops[0]!.visits[0]!.charge(BOTTLE);
    expect(await session.end()).toMatchObject({ status: 200 });
  });

  it("changes the service, if the client agrees (M22)", async () => {
    const { alice, shops } = await openLab(protocol, [{ services: ["wine", "beer"] }]);
    const session = await alice.request("wine");
    await until(() => shops[0]!.visits.length === 1);
    const [visit] = shops[0]!.visits;
    await visit!.change("beer");
    await until(() => session.service === "beer");
    expect(visit!.service()).toBe("beer");
    session.onChange((request) => request.refuse(488));
    await expect(visit!.change("wine")).rejects.toThrow(/488/);
    expect(session.service).toBe("beer");
    await visit!.charge(BOTTLE);
    expect(await session.end()).toMatchObject({ status: 200 });
    await visit!.ended;
  });

  it("loses its client to another one (M23)", async () => {
    const shops = [{ services: ["wine"] }, { services: ["beer"] }];
    const { alice, shops: opened } = await openLab(protocol, shops);
    const session = await alice.request("wine");
    await until(() => opened[0]!.visits.length === 1);
    const second = await session.move("beer");
    await opened[0]!.visits[0]!.ended;
    expect(second.service).toBe("beer");
    expect(await second.end()).toMatchObject({ status: 200 });
  });

  it("sends its client on to a partner, and to nobody else (M23, M24)", async () => {
    const shops = [{ services: ["wine"] }, { services: ["beer"] }];
    const { alice, shops: opened } = await openLab(protocol, shops, {}, { appServer: { mayReferTo: ["shop1"] } });
    const session = await alice.request("wine");
    await until(() => opened[0]!.visits.length === 1);
    await expect(opened[0]!.visits[0]!.move("cider")).rejects.toThrow(/404|403/);
    await expect(opened[0]!.visits[0]!.move("beer", true)).rejects.toThrow(/603/); // the client takes none
    expect(await session.end()).toMatchObject({ status: 200 });
  });

  it("serves a user who pays in advance as long as the money lasts", async () => {
    const { alice, shops, portal } = await openLab(
      protocol,
      [{ services: ["wine"] }],
      {
        tariffs: [{ id: "visit", currency: "EUR", price: "1.00", incrementS: 0.1 }],
        credit: { intervalS: 1, warnS: 0 },
      },
      { prepare: (store) => prepaid(store, "20.00") },
    );
    const session = await alice.request("wine");
    expect(await session.ended).toMatchObject({ by: "remote" });
    await until(() => shops[0]!.visits.length === 1);
    await shops[0]!.visits[0]!.ended;
    expect(portal.relay.counters.creditExhausted).toBe(1);
  });

  it("charges a user who pays in advance while the session lasts and at its end, and no more than there is", async () => {
    const atEnd = () => [{ id: "end", item: "Corkage", unitPrice: "4.00", currency: "EUR" }];
    const { alice, shops, portal } = await openLab(
      protocol,
      [{ services: ["wine"], atEnd }],
      { credit: { reserveCharges: "5" } },
      { prepare: (store) => prepaid(store, "20.00") },
    );
    const session = await alice.request("wine");
    await until(() => shops[0]!.visits.length === 1);
    await shops[0]!.visits[0]!.charge(BOTTLE);
    await expect(shops[0]!.visits[0]!.charge(BOTTLE)).rejects.toThrow(/40[23]/);
    await session.end();
    await shops[0]!.visits[0]!.ended;
    expect(paid(await portal.bill()).sort()).toEqual([
      "1 x Corkage: 4.00 EUR",
      "1 x Riesling: 12.50 EUR",
      "wine, ended by client: 0.10 EUR",
    ]);
  });

  it("accepts although the client has given up: it hears of the end, and nobody pays (M8)", async () => {
    let decide = () => {};
    let asked = () => {};
    const isAsked = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const decided = new Promise<void>((resolve) => {
      decide = resolve;
    });
    const shop = {
      services: ["wine"],
      decide: async () => {
        asked();
        await decided;
        return accepting();
      },
    };
    const { alice, portal } = await openLab(protocol, [shop]);
    const abort = new AbortController();
    const request = alice.request("wine", { signal: abort.signal });
    await isAsked;
    abort.abort();
    await expect(request).rejects.toMatchObject({ status: 487 });
    decide();
    expect(paid(await portal.bill())).toEqual([]);
  });
});
