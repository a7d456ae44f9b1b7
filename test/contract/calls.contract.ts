import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findCalls, tagsOf } from "../../src/calls/find.ts";
import type { CallRecord } from "../../src/calls/record.ts";
import type { CallPage, CallRing, CallStore } from "../../src/calls/store.ts";
import type { Store } from "../../src/store/types.ts";
import { JANUARY } from "../charging/samples.ts";
import type { StoreAdapter, StoreUnderTest } from "./adapters.ts";

/** The `n`th call of a user, or of a stranger. */
export const call = (n: number, over: Partial<CallRecord> = {}): CallRecord => ({
  id: `record${String(n).padStart(4, "0")}`,
  kind: "invite",
  method: "INVITE",
  at: JANUARY + n * 1_000,
  callId: `call-${n}@client`,
  source: "udp/192.0.2.1:5060",
  user: "alice",
  uri: "sip:wine@portal.example",
  asked: [{ appServer: "shop", session: `s${n}`, callId: `s${n}@tollgate`, atMs: 1, status: 200, reason: "OK" }],
  status: 200,
  reason: "OK",
  endedBy: "client",
  wholeMs: 500,
  ...over,
});

/** The page in which these records would be written. */
export const pageOf = (records: readonly CallRecord[], ring: CallRing = "users"): CallPage => ({
  ring,
  at: Math.max(...records.map(({ at, wholeMs }) => at + wholeMs)),
  count: records.length,
  text: records.map((record) => JSON.stringify(record)).join("\n"),
  tags: records.flatMap(tagsOf),
});

/** What every store of call records has to do. */
export function callsContract(adapter: StoreAdapter): void {
  describe(`${adapter.name}: records of calls (P5)`, () => {
    let place: StoreUnderTest;
    let store: Store;
    let calls: CallStore;
    beforeEach(async () => {
      place = await adapter.create();
      store = await place.open();
      calls = store.calls;
    });
    afterEach(async () => {
      await store.close();
      await place.destroy();
    });

    const ids = async (query: Parameters<typeof findCalls>[2]) =>
      (await findCalls(calls, [], query)).map(({ id }) => id);

    it("gives back the newest, in the order in which they began", async () => {
      for (let n = 0; n < 60; n++) await calls.add(pageOf([call(2 * n), call(2 * n + 1)]));
      expect(await ids({ most: 3 })).toEqual(["record0117", "record0118", "record0119"]);
      expect(await ids({ most: 1_000 })).toHaveLength(120);
    });

    it("finds by Call-ID of either side, by session, by user, by the beginning of the id", async () => {
      for (let n = 0; n < 30; n++) await calls.add(pageOf([call(n, { user: `user${n}` })]));
      expect(await ids({ callId: "call-7@client", most: 5 })).toEqual(["record0007"]);
      expect(await ids({ callId: "s8@tollgate", most: 5 })).toEqual(["record0008"]);
      expect(await ids({ user: "user9", most: 5 })).toEqual(["record0009"]);
      for (const any of ["s10", "record0010", "call-10@client"])
        expect(await ids({ any, most: 5 })).toEqual(["record0010"]);
      expect(await ids({ any: "nothing", most: 5 })).toEqual([]);
    });

    it("finds those that failed, and those that ended since", async () => {
      await calls.add(pageOf([call(1), call(2, { status: 500, endedBy: "server" })]));
      await calls.add(pageOf([call(3, { status: 487, endedBy: "client" })]));
      expect(await ids({ failed: true, most: 5 })).toEqual(["record0002"]);
      expect(await ids({ since: JANUARY + 2_400, most: 5 })).toEqual(["record0002", "record0003"]);
    });

    it("shows one record where another process wrote the beginning", async () => {
      const said = (atMs: number, text: string) => ({
        messages: [[atMs, "client", "relay", text] as const],
        states: [[atMs, "session", text, "a", "b"] as const],
      });
      const begin = call(1, { running: true, wholeMs: 10, rule: "all", kept: said(5, "INVITE") });
      const end = call(1, {
        ...{ at: begin.at + 90_000, source: "", uri: "", resumed: true, cost: "1.00 EUR", kept: said(20, "BYE") },
      });
      await calls.add(pageOf([begin]));
      for (let n = 2; n < 30; n++) await calls.add(pageOf([call(n)]));
      await calls.add(pageOf([end]));
      const [record, ...more] = await findCalls(calls, [], { callId: "call-1@client", most: 5 });
      expect(more).toEqual([]);
      expect(record).toMatchObject({ at: begin.at, rule: "all", source: begin.source, cost: "1.00 EUR" });
      expect(record!.running ?? record!.resumed).toBeUndefined();
      // All times are since the request came, also those that were counted from when the call was taken up.
      const times = [record!.kept!.messages, record!.kept!.states].map((all) => all.map(([atMs]) => atMs));
      expect(times).toEqual([
        [5, 90_020],
        [5, 90_020],
      ]);
    });

    it("keeps strangers' requests apart: they push out no call of a user", async () => {
      await calls.add(pageOf([call(1)]));
      for (let n = 10; n < 40; n++) await calls.add(pageOf([call(n, { user: undefined as never })], "strangers"));
      expect(await calls.forget({ ring: "strangers", before: 0, most: 10 })).toBe(20);
      expect(await ids({ strangers: true, most: 100 })).toHaveLength(10);
      expect(await ids({ strangers: false, most: 100 })).toEqual(["record0001"]);
    });

    it("forgets what is old, and what is too many", async () => {
      for (let n = 0; n < 20; n++) await calls.add(pageOf([call(n)]));
      expect(await calls.forget({ ring: "users", before: JANUARY + 5_000, most: 1_000 })).toBe(5);
      expect(await calls.forget({ ring: "users", before: 0, most: 4 })).toBe(11);
      expect(await ids({ most: 100 })).toEqual(["record0016", "record0017", "record0018", "record0019"]);
      expect(await calls.forget({ ring: "users", before: 0, most: 4 })).toBe(0);
    });
  });
}
