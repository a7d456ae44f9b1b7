import { rmSync } from "node:fs";
import { join } from "node:path";
import { open, type RootDatabase } from "lmdb";
import { beforeAll, describe, expect, it } from "vitest";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { Migrations } from "../../src/store/migrations/index.ts";
import { LmdbDisk } from "../../src/support/lmdb-disk.ts";
import { compiled } from "../charging/built.ts";
import { named, run } from "../charging/children.ts";
import { freshFolder } from "../charging/folders.ts";
import type { StoreAdapter } from "../contract/adapters.ts";
import { bindingsContract } from "../contract/bindings.contract.ts";
import { callsContract } from "../contract/calls.contract.ts";
import { creditContract } from "../contract/credit.contract.ts";
import { item, storeContract } from "../contract/store.contract.ts";
import { timeLogContract } from "../contract/time-log.contract.ts";
import { usageContract } from "../contract/usage.contract.ts";

const lmdb: StoreAdapter = {
  name: "LMDB",
  create: async () => {
    const path = freshFolder();
    return { open: () => openEmbeddedStore(path), destroy: async () => rmSync(path, { recursive: true, force: true }) };
  },
};
storeContract(lmdb);
creditContract(lmdb);
callsContract(lmdb);
timeLogContract(lmdb);
bindingsContract(lmdb);
usageContract(lmdb);

describe("the embedded store (P4)", () => {
  it("makes its folder", async () => {
    const path = join(freshFolder(), "new", "data");
    const store = await openEmbeddedStore(path);
    expect(await store.users.list()).toEqual([]);
    await store.close();
  });

  it("rejects where the folder cannot be used", async () => {
    await expect(openEmbeddedStore("/dev/null/data")).rejects.toThrow();
  });

  it("says of which version its data are: newer ones refuse an older program, older ones are brought to the program's", async () => {
    const path = freshFolder();
    const open = (migrations?: Migrations) => openEmbeddedStore(path, new LmdbDisk(path), migrations);
    const before = await open({ schema: 2, mongo: [], embedded: [] });
    await before.users.put({ id: "alice", realm: "portal.example", ha1: { sha256: "ab" } });
    await before.close();
    await expect(open({ schema: 1, mongo: [], embedded: [] })).rejects.toThrow(
      `the data in ${path} are of version 2, written by a newer Tollgate; this one knows version 1`,
    );
    const step = (to: number) => ({
      to,
      what: "a step",
      run: async (root: RootDatabase) => {
        const users = root.openDB<Record<string, unknown>, string>({ name: "users", encoding: "json" });
        await users.put("alice", { ...users.get("alice"), [`v${to}`]: true });
      },
    });
    const after = await open({ schema: 4, mongo: [], embedded: [step(3), step(4)] });
    expect(await after.users.get("alice")).toMatchObject({ v3: true, v4: true });
    await after.close();
    await expect(open({ schema: 6, mongo: [], embedded: [step(6)] })).rejects.toThrow("too old for this Tollgate");
    await expect(openEmbeddedStore(path)).rejects.toThrow("version 4, written by a newer Tollgate");
  });

  it("takes data without a version for those of the first", async () => {
    const path = freshFolder();
    const root = open({ path, encoding: "json", noSubdir: false, maxDbs: 32 });
    await root.openDB({ name: "users", encoding: "json" }).put("alice", { id: "alice" });
    await root.close();
    const run: number[] = [];
    const step = { to: 2, what: "a step", run: async () => void run.push(2) };
    const store = await openEmbeddedStore(path, new LmdbDisk(path), { schema: 2, mongo: [], embedded: [step] });
    expect([run, (await store.users.list()).length]).toEqual([[2], 1]);
    await store.close();
  });

  it("begins no write while the disk is nearly full, still reads, and goes on once there is room", async () => {
    const path = freshFolder();
    let freeBytes = 10 ** 6;
    const store = await openEmbeddedStore(path, new LmdbDisk(path, () => freeBytes));
    const { users, billing } = store;
    const credit = store.credit!;
    const writes = [
      () => users.put({ id: "alice", realm: "portal.example", ha1: { sha256: "ab" } }),
      () => users.remove("alice"),
      () => billing.write({ accounts: [], entries: [item(1)] }),
      () => billing.putDeadLetter({ id: "d1", at: 0, reason: "no event", event: "{}" }),
      () => billing.removeDeadLetter("d1"),
      () => credit.open("alice", "EUR"),
    ];
    for (const write of writes) await expect(write()).rejects.toThrow("make room on it");
    expect(await users.list()).toEqual([]);
    expect(await billing.entriesOf("s1")).toEqual([]);
    expect(await billing.deadLetters(10)).toEqual([]);
    expect(await credit.account("alice")).toBeUndefined();
    freeBytes = 10 ** 9;
    for (const write of writes) await write();
    expect(await billing.entriesOf("s1")).toHaveLength(1);
    await store.close();
  });

  it("undoes a whole write where one of its entries cannot be written", async () => {
    const store = await openEmbeddedStore(freshFolder());
    const bad = item(2, { id: "x".repeat(5000) }); // too long for a key
    await expect(store.billing.write({ accounts: [], entries: [item(1), bad] })).rejects.toThrow();
    expect(await store.billing.entriesOf("s1")).toEqual([]);
    expect(await store.billing.totals("alice", "2026-01")).toEqual([]);
    await store.close();
  });
});

describe("the embedded store in a process that dies (P4)", () => {
  const child = new URL("store-child.mjs", import.meta.url).pathname;
  let build: string;
  beforeAll(() => {
    build = compiled("src/store/embedded.ts");
  }, 60_000);

  /** The writes that are in it, whole, and whether its sums are those of its entries. */
  async function check(path: string): Promise<string[]> {
    const store = await openEmbeddedStore(path);
    const { entries } = await store.billing.entries("alice", "2026-01", { limit: 1_000_000 });
    const sessions = new Map<string, number>();
    for (const { session } of entries) sessions.set(session, (sessions.get(session) ?? 0) + 1);
    expect([...sessions.values()].every((count) => count === 10)).toBe(true);
    const [sum] = await store.billing.totals("alice", "2026-01");
    expect(sum).toMatchObject({ charges: entries.length, itemAmount: (entries.length / 100).toFixed(2) });
    await store.close();
    return [...sessions.keys()].map((session) => session.slice(1));
  }

  it("has every write that it acknowledged, whole, after kill -9", async () => {
    const path = freshFolder();
    const process = run([child, build, path]);
    await process.said(300);
    await process.kill();
    const acknowledged = named(process.lines, "acknowledged");
    expect(acknowledged.length).toBeGreaterThanOrEqual(300);
    const found = new Set(await check(path));
    expect(acknowledged.filter((n) => !found.has(n))).toEqual([]);
  }, 30_000);

  it("refuses when the disk is full, goes on, and keeps what it acknowledged", async () => {
    const path = freshFolder();
    const process = run([child, build, path, "300"], { fileLimitKb: 600 });
    expect(await process.ended).toBe(0);
    const acknowledged = named(process.lines, "acknowledged");
    expect(acknowledged.length).toBeGreaterThan(10);
    expect(named(process.lines, "refused").length).toBe(300 - acknowledged.length);
    expect((await check(path)).sort()).toEqual([...acknowledged].sort());
  }, 30_000);

  it("is opened again and again while it is written, by the same process", async () => {
    const opens = new URL("opens-child.mjs", import.meta.url).pathname;
    const process = run([opens, build, freshFolder()]);
    const hung = setTimeout(() => void process.kill(), 20_000);
    expect(await process.ended).toBe(0);
    clearTimeout(hung);
    expect(process.lines).toEqual(["400 written, 400 seen by who opened it last"]);
  }, 30_000);

  it("is written by two processes at once, and loses nothing of either", async () => {
    const path = freshFolder();
    const process = run([child, build, path, "150"]);
    await process.said(1);
    const store = await openEmbeddedStore(path);
    for (let n = 0; n < 100; n++) {
      const entries = Array.from({ length: 10 }, (_, i) =>
        item(i, { id: `s${1000 + n}:charge:shop:${i}`, session: `s${1000 + n}`, amount: "0.01" }),
      );
      await store.billing.write({ accounts: [], entries });
      await store.users.put({ id: `user${n}`, realm: "portal.example", ha1: { sha256: "ab" } });
    }
    expect(await process.ended).toBe(0);
    expect(await store.users.list()).toHaveLength(100);
    expect(await store.directoryVersion()).toBe(100);
    await store.close();
    expect(await check(path)).toHaveLength(250);
  }, 30_000);
});
