import { describe, expect, it } from "vitest";
import { AppServerSignIn } from "../../src/console/app-server-sign-in.ts";
import { ChargeDesk } from "../../src/console/charge-desk.ts";
import { bearerToken, newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { systemRandom } from "../../src/support/random.ts";
import { SharedNodes } from "../cluster/shared-nodes.ts";

const keyOf = (appServer: string) =>
  newAppServerKey({ appServer, portalRealm: "localhost", md5: false, now: 0, random: systemRandom });
const [shop, other] = [keyOf("shop"), keyOf("other")];

/** Desks of two nodes before one charging management, which refuses the charge "dear" once with what it says then. */
function twoDesks() {
  const nodes = new SharedNodes();
  const known = new Map([shop, other].map((one) => [one.key.id, one.key]));
  const made: string[] = [];
  let refusals = 0;
  const charge = async (_appServer: string, { charges }: { charges: readonly { id: string }[] }) => {
    const [{ id }] = charges as [{ id: string }];
    if (id === "dear")
      return { kind: "refused", refusal: { kind: "terms", text: `refusal ${++refusals}`, charge: id } };
    if (!made.includes(id)) made.push(id);
    return { kind: "recorded" };
  };
  const desks = ["node01", "node02"].map((node) => {
    const shared = nodes.make(node);
    const keys = { appServerKey: (id: string) => known.get(id) };
    const signIn = new AppServerSignIn({ keys, portalRealm: "localhost", clock: nodes.clock });
    const direct = { charge, refuse: charge } as never;
    const desk = new ChargeDesk({ direct, signIn, clock: nodes.clock, perSecond: 0, keys: shared.keys });
    return { shared, desk };
  });
  for (const { shared } of desks) shared.start();
  const report = async (at: number, id: string, { key = "k", by = shop, price = "1" } = {}) => {
    const charges = [{ id, item: "Book", unitPrice: price, currency: "EUR" }];
    const answer = await desks[at]!.desk.answer({
      authorization: `Bearer ${bearerToken(by.key.id, by.secret)}`,
      idempotencyKey: key,
      source: "here",
      by: "http",
      body: async () => Buffer.from(JSON.stringify({ session: "s1", charges })),
    });
    nodes.clock.advance(1); // what is told at once has come
    return answer;
  };
  return { report, made, nodes };
}

describe("an Idempotency-Key that was used at one node (P3, M17)", () => {
  it("has the same answer at another one, and the charge is made once", async () => {
    const { report, made } = twoDesks();
    const [first, second] = [await report(0, "c1"), await report(1, "c1")];
    expect(first.status).toBe(200);
    expect(second).toEqual(first);
    expect(made).toEqual(["c1"]);
  });

  it("has the same refusal there, whatever is the case by then", async () => {
    const { report } = twoDesks();
    const first = await report(0, "dear");
    expect(first).toMatchObject({ status: 403, body: { detail: "refusal 1", charge: "dear" } });
    expect(await report(1, "dear")).toEqual(first);
  });

  it("is refused there with another body; another app server's key of the same name is its own", async () => {
    const { report, made } = twoDesks();
    await report(0, "c1");
    expect((await report(1, "c2")).status).toBe(422);
    expect((await report(1, "c1", { price: "2" })).status).toBe(422);
    expect((await report(1, "c3", { by: other })).status).toBe(200);
    expect(made).toEqual(["c1", "c3"]);
  });

  it("is nothing that a node could make up: what is no hash and no refusal is left out", async () => {
    const { report, nodes } = twoDesks();
    const wire = nodes.wire.of("node02");
    const lines = [
      ["idempotency", "short", "x", ""],
      ["idempotency", 1, 2, 3],
      ["idempotency", `${"A".repeat(43)}=`, `${"A".repeat(43)}=`, "{"],
      ["idempotency", `${"A".repeat(43)}=`, `${"A".repeat(43)}=`, '{"type":"urn:tollgate:problem:constructor"}'],
      ["idempotency", `${"A".repeat(43)}=`, `${"A".repeat(43)}=`, "x".repeat(900)],
    ];
    wire.tell("shared", `1 node02 1\n${JSON.stringify(lines)}`);
    expect((await report(0, "c1")).status).toBe(200);
  });
});
