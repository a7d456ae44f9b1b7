import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { toCloudEvent } from "../../src/bus/cloud-events.ts";
import { chargeMade } from "../../src/charging/events/events.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { Store } from "../../src/store/types.ts";
import { aCharge, facts, JANUARY } from "../charging/samples.ts";
import { Terminal } from "./terminal.ts";

const good = chargeMade(facts(), JANUARY, aCharge(), "info");
const bad = { ...good, charge: { ...good.charge, quantity: "two" } };
const { id } = good;

let terminal: Terminal;
const inStore = async <T>(use: (store: Store) => Promise<T>): Promise<T> => {
  const store = await openEmbeddedStore(join(terminal.folder, "data", "store"));
  try {
    return await use(store);
  } finally {
    await store.close();
  }
};
const put = (letters: Record<string, string>) =>
  inStore(async ({ billing }) => {
    for (const [name, event] of Object.entries(letters))
      await billing.putDeadLetter({ id: name, at: JANUARY, reason: "charge: no number", event });
  });
const events = (...argv: string[]) => terminal.tollgate(["events", ...argv]);

beforeEach(async () => {
  terminal = new Terminal();
  await terminal.tollgate(["user", "add", "alice", "--password-stdin"], { stdin: "x" });
});
afterEach(() => terminal.remove());

describe("tollgate events (P2)", () => {
  it("lists what could not be billed with its reason, and shows one", async () => {
    expect((await events("list")).out).toBe("every event was billed\n");
    await put({ [id]: JSON.stringify(bad) });
    expect((await events("list")).out).toContain("charge: no number");
    expect(JSON.parse((await events("list", "--json")).out)).toMatchObject({ id, at: JANUARY });
    expect((await events("show", id)).out).toContain('"quantity": "two"');
    expect(await events("show", "x")).toMatchObject({ code: 1, err: expect.stringContaining("no event x") });
  });

  it("repairs one value and bills it once, however often it is replayed", async () => {
    await put({ [id]: JSON.stringify(bad) });
    expect(await events("replay", id)).toMatchObject({ code: 1, err: expect.stringContaining(id) });
    expect((await events("repair", id, "--set", "charge.quantity=2")).out).toContain("can be billed");
    expect(await events("replay", id)).toMatchObject({ code: 0, out: "1 billed\n" });
    await put({ [id]: JSON.stringify(good) });
    expect((await events("replay", "all")).out).toBe("1 billed\n");
    expect((await events("list")).out).toBe("every event was billed\n");
    const bill = await terminal.tollgate(["bill", "alice", "--month", "2026-01", "--json"]);
    expect(bill.out.split('"Riesling"')).toHaveLength(2);
    expect(bill.out).toContain('"25.00"');
  });

  it("bills what no relay has signed only by its id, and only where it is told to", async () => {
    const letter = { id: "TOLLGATE:7", at: JANUARY, reason: "it is not signed by a relay", untrusted: true } as const;
    await inStore(({ billing }) => billing.putDeadLetter({ ...letter, event: toCloudEvent(good, "urn:x") }));
    await put({ [`${id}x`]: JSON.stringify({ ...good, id: `${id}x`, charge: { ...good.charge, id: "1x" } }) });
    const all = await events("replay", "all");
    expect([all.code, all.out]).toEqual([1, "1 billed\n"]);
    expect(all.err).toContain("TOLLGATE:7: no relay has signed it: anybody may have made it");
    expect((await events("replay", "TOLLGATE:7")).code).toBe(1);
    expect(await events("replay", "all", "--unsigned")).toMatchObject({ code: 2 });
    expect((await events("list")).out).toContain("it is not signed by a relay");
    expect(await events("replay", "TOLLGATE:7", "--unsigned")).toMatchObject({ code: 0, out: "1 billed\n" });
    expect((await events("list")).out).toBe("every event was billed\n");
  });

  it("keeps the event's id, whatever is put in its place", async () => {
    await put({ [id]: JSON.stringify(bad) });
    terminal.write("event.json", JSON.stringify({ ...good, id: "another" }));
    expect((await events("repair", id, "--file", "event.json")).err).toContain(`keeps its id, ${id}`);
    expect((await events("repair", id, "--set", "id=another")).err).toContain(`keeps its id, ${id}`);
  });

  it("takes the whole from a file, or from an editor", async () => {
    await put({ "TOLLGATE:7": "not JSON at all", [id]: JSON.stringify(bad) });
    terminal.write("event.json", toCloudEvent(good, "urn:test"));
    expect((await events("repair", "TOLLGATE:7", "--set", "a=b")).err).toContain("--file");
    expect((await events("repair", "TOLLGATE:7", "--file", "event.json")).out).toContain("can be billed");
    const env = { EDITOR: "sed -i s/two/3/" };
    expect((await terminal.tollgate(["events", "repair", id], { env })).out).toContain("can be billed");
    expect((await events("repair", id)).err).toContain("EDITOR");
  });

  it("says what is still wrong after a repair", async () => {
    await put({ [id]: JSON.stringify(bad) });
    expect((await events("repair", id, "--set", "charge.currency=euro")).out).toContain("still: charge.quantity");
    expect((await events("repair", id, "--set", "session:=7")).out).toContain("still: session ");
    expect((await events("repair", id, "--set", "nowhere.to=be")).err).toContain("there is no nowhere.to");
    expect((await events("list")).out).toContain("session must be an object");
  });

  it("bills all that can be billed, and drops what never will be", async () => {
    await put({ [id]: JSON.stringify(good), "TOLLGATE:9": "{}" });
    const replayed = await events("replay", "all");
    expect(replayed).toMatchObject({
      code: 1,
      out: "1 billed\n",
      err: expect.stringContaining("TOLLGATE:9: id must be"),
    });
    expect((await events("drop", "TOLLGATE:9")).out).toBe("TOLLGATE:9 dropped\n");
    expect((await events("drop", "TOLLGATE:9")).code).toBe(1);
  });
});
