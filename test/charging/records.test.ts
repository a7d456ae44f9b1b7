import { describe, expect, it } from "vitest";
import type { Entry } from "../../src/charging/billing/store.ts";
import { type BrokenRecord, type CallRecord, callRecords, writeRecords } from "../../src/charging/bills/records.ts";
import { correction, item, time } from "../contract/store.contract.ts";
import { MemoryBilling } from "./memory-store.ts";
import { JANUARY, numbers, shuffled } from "./samples.ts";

const [FROM, TO] = [Date.UTC(2026, 0), Date.UTC(2026, 1)];

async function stored(entries: readonly Entry[]) {
  const billing = new MemoryBilling();
  await billing.write({ accounts: [], entries });
  return billing;
}

async function records(billing: MemoryBilling, from = FROM, to = TO): Promise<CallRecord[]> {
  const found: CallRecord[] = [];
  for await (const one of callRecords(billing, from, to)) found.push(one);
  return found;
}

const month: Entry[] = [
  time("s1", { call: "c1" }),
  item(1),
  item(2),
  correction("1"),
  time("s2", { at: JANUARY + 1000, user: "bob", call: "c1", previous: { session: "s1", by: "change" } }),
  time("s3", { at: JANUARY + 500, appServer: "shop-2", currency: "", amount: "0" }),
];

describe("call detail records", () => {
  it("are made of all sessions but those of which none can be made, which are named", async () => {
    const endless = time("s9", { at: JANUARY, durationMs: 8.64e15 });
    const odd = time("s8", { at: JANUARY, currency: "EUR" });
    const broken = item(8, { session: "s8", id: "s8:charge:shop-1:8", amount: "much" });
    const billing = await stored([...month, endless, odd, broken]);
    const left: BrokenRecord[] = [];
    const found: string[] = [];
    for await (const { session } of callRecords(billing, FROM, TO, (one) => left.push(one))) found.push(session);
    expect(found).toEqual(["s1", "s3", "s2"]);
    expect(left.map(({ session }) => session).sort()).toEqual(["s8", "s9"]);
  });

  it("are one for each session, with what its time, items and corrections come to, by its start", async () => {
    const found = await records(await stored(shuffled(month, numbers(4))));
    expect(found.map(({ session }) => session)).toEqual(["s1", "s3", "s2"]);
    expect(found[0]).toEqual({
      user: "alice",
      service: "wine",
      app_server: "shop-1",
      call: "c1",
      session: "s1",
      previous: "",
      start: "2026-01-05T10:00:00.000Z",
      end: "2026-01-05T10:01:00.000Z",
      duration_ms: 60_000,
      ended_by: "client",
      time_amount: "0.35",
      items: 2,
      items_amount: "0.20",
      corrections_amount: "-0.05",
      currency: "EUR",
      taxes: "",
      prepaid: "",
    });
    expect(found[1]).toMatchObject({ app_server: "shop-2", time_amount: "0", items_amount: "0", currency: "" });
    expect(found[2]).toMatchObject({ user: "bob", previous: "s1", call: "c1" });
  });

  it("have the items of a session whenever they were charged, also in the next month", async () => {
    const late = item(9, { at: TO + 5, month: "2026-02", amount: "7.00" });
    const [one] = await records(await stored([time("s1"), late]));
    expect(one).toMatchObject({ items: 1, items_amount: "7.00" });
    expect(await records(await stored([time("s1"), late]), TO, Date.UTC(2026, 2))).toEqual([]);
  });

  it("are those of a time that goes over months", async () => {
    const february = time("s9", { at: TO + 10, month: "2026-02" });
    const billing = await stored([...month, february]);
    expect((await records(billing, JANUARY + 1, TO + 11)).map(({ session }) => session)).toEqual(["s3", "s2", "s9"]);
    expect((await records(billing, JANUARY + 1, TO + 10)).map(({ session }) => session)).toEqual(["s3", "s2"]);
  });

  it("have a session whose clock never ran, once, and not one that still runs", async () => {
    const charged = [1, 2, 3].map((n) => item(n, { id: `n1:charge:shop-1:${n}`, session: "n1" }));
    const billing = await stored(charged);
    const [one, ...more] = await records(billing);
    expect(more).toEqual([]);
    expect(one).toMatchObject({ session: "n1", end: "", duration_ms: "", items: 3, items_amount: "0.30" });
    const facts = { session: "n1", user: "alice", service: "wine", appServer: "shop-1", call: "c" };
    const times = { windowMs: 0, tariff: null, startedAt: JANUARY, endedAt: null, endedBy: null, dueAt: null };
    billing.put({ revision: 0, state: "running", context: { version: 1, ...facts, ...times } });
    expect(await records(billing)).toEqual([]);
  });

  it("say which taxes were on it, and what was paid from a balance", async () => {
    const on = (rate: string) => ({ taxes: [{ id: "vat", rate, included: false }] });
    const charged = [time("s1", { terms: on("19"), prepaid: true }), item(1, { terms: on("21"), prepaid: true })];
    const [one] = await records(await stored(charged));
    expect(one).toMatchObject({ taxes: "vat 19%; vat 21%", prepaid: "yes" });
  });

  it("have a session that was charged in two currencies in each of them, its time once", async () => {
    const yen = item(3, { currency: "JPY", amount: "500" });
    const found = await records(await stored([time("s1"), item(1), yen]));
    expect(found.map(({ currency, time_amount, items_amount }) => [currency, time_amount, items_amount])).toEqual([
      ["EUR", "0.35", "0.10"],
      ["JPY", "0", "500"],
    ]);
  });

  it("are all there when there are many, and no more than some are held at a time", async () => {
    const many = Array.from({ length: 1_200 }, (_, n) => time(`m${n}`, { at: JANUARY + n, appServer: `a${n % 7}` }));
    const found = await records(await stored(shuffled(many, numbers(2))));
    expect(found.map(({ session }) => session)).toEqual(many.map(({ session }) => session));
  });

  it("are written as CSV and as JSON lines", async () => {
    const written = async (format: "csv" | "jsonl") => {
      let text = "";
      for await (const part of writeRecords(callRecords(await stored(month), FROM, TO), format)) text += part;
      return text;
    };
    const csv = (await written("csv")).split("\r\n");
    expect(csv[0]).toMatch(/^user,service,app_server,call,session,previous,start,end,duration_ms,ended_by,/);
    expect(csv[1]).toBe(
      "alice,wine,shop-1,c1,s1,,2026-01-05T10:00:00.000Z,2026-01-05T10:01:00.000Z,60000,client,0.35,2,0.20,-0.05,EUR,,",
    );
    const json = (await written("jsonl")).trimEnd().split("\n");
    expect(json.map((line) => (JSON.parse(line) as CallRecord).session)).toEqual(["s1", "s3", "s2"]);
  });
});
