import { describe, expect, it } from "vitest";
import { AppServerSignIn } from "../../src/console/app-server-sign-in.ts";
import { ChargeDesk } from "../../src/console/charge-desk.ts";
import { bearerToken, newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { systemRandom } from "../../src/support/random.ts";
import { TestClock } from "../support/test-clock.ts";

const key = (appServer: string) =>
  newAppServerKey({ appServer, portalRealm: "localhost", md5: false, now: 0, random: systemRandom });
const [busy, other] = [key("busy"), key("other")];

/** A desk before a disk that answers when told. `elsewhere`: so many reports a second another node takes. */
function setUp({ perSecond = 0, elsewhere = 0 } = {}) {
  const clock = new TestClock();
  const keys = new Map([busy, other].map((one) => [one.key.id, one.key]));
  const signIn = new AppServerSignIn({ keys: { appServerKey: (id) => keys.get(id) }, portalRealm: "localhost", clock });
  let written = () => {};
  const disk = new Promise<void>((resolve) => {
    written = resolve;
  });
  const charge = async () => {
    await disk;
    return { kind: "recorded" as const };
  };
  const direct = { charge, refuse: charge } as never;
  const others = { taken: (appServer: string) => (appServer === "busy" ? elsewhere : 0), took: () => {} };
  const desk = new ChargeDesk({ direct, signIn, clock, perSecond, elsewhere: others });
  const report = ({ key: { id }, secret }: typeof busy) => {
    const charges = [{ id: "c1", item: "Book", unitPrice: "1", currency: "EUR" }];
    return desk.answer({
      authorization: `Bearer ${bearerToken(id, secret)}`,
      idempotencyKey: undefined,
      source: "nats/_INBOX.x",
      by: "nats",
      body: async () => Buffer.from(JSON.stringify({ session: "s1", charges })),
    });
  };
  return { report, written };
}

describe("reports of charges in work at once (decision 14)", () => {
  it("are 64 of one app server, whatever they come by; another's are not among them", async () => {
    const { report, written } = setUp();
    const first = Array.from({ length: 64 }, () => report(busy));
    expect(await report(busy)).toMatchObject({ status: 429, headers: { "Retry-After": "1" } });
    const others = report(other);
    written();
    expect((await Promise.all([...first, others])).map(({ status }) => status)).toEqual(Array(65).fill(200));
    expect((await report(busy)).status).toBe(200);
  });

  it("are so many in a second at all nodes together", async () => {
    const { report, written } = setUp({ perSecond: 10, elsewhere: 8 });
    written();
    const reports = await Promise.all([busy, busy, busy, other].map(report));
    expect(reports.map(({ status }) => status)).toEqual([200, 200, 429, 200]);
  });
});
