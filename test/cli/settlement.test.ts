import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { monthBefore } from "../../src/charging/billing/retention.ts";
import type { Bill } from "../../src/charging/bills/bill.ts";
import type { SessionFacts } from "../../src/charging/events/events.ts";
import { type ChargingEvent, sessionChanged, sessionEnded } from "../../src/charging/events/events.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import type { Terms } from "../../src/charging/money/terms.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { Store } from "../../src/store/types.ts";
import { aCharge, facts as factsOf, silent, wholeSession } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { Terminal } from "./terminal.ts";

/** A while ago, in this month. */
const MONTH = monthOf(Date.now());
const NOW = Math.max(Date.now() - 60_000, Date.parse(`${MONTH}-01T00:00:00Z`));

/** What held when it was charged; the configuration says something else now. */
const THEN: Terms = {
  taxes: [{ id: "vat", title: "VAT", rate: "19", included: false }],
  fee: { percent: "5", perSession: "0.10", currency: "EUR" },
  timeShare: "50",
};
const facts = (over: Partial<SessionFacts> = {}) => factsOf({ terms: THEN, ...over });

let terminal: Terminal;
beforeEach(async () => {
  terminal = new Terminal();
  terminal.write(
    "tollgate.yaml",
    `taxes: [{ id: vat, title: VAT, rate: 21 }]
settlement: { fee: { percent: 7 } }
services: [{ id: english, timeShare: 10 }]
appServers: [{ id: teacher-1, uri: "sip:127.0.0.1:5070", services: [english] }]
`,
  );
  await terminal.tollgate(["user", "add", "alice", "--password-stdin"], { stdin: "x" });
  const session = facts({ id: "s2" });
  await bill([
    ...wholeSession(facts(), 61_000, [aCharge()], NOW),
    ...wholeSession(session, 1, [], NOW).slice(0, 1),
    sessionChanged(facts({ id: "s3", previous: { session: "s2", by: "change" } }), session, NOW, NOW + 1000),
    sessionEnded(facts({ id: "s3", previous: { session: "s2", by: "change" } }), NOW + 1000, NOW + 2000, "server"),
  ]);
});
afterEach(() => terminal.remove());

async function withStore<T>(use: (store: Store) => Promise<T>): Promise<T> {
  const store = await openEmbeddedStore(join(terminal.folder, "data", "store"));
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** Bills events as a running relay would. */
const bill = (events: readonly ChargingEvent[]) =>
  withStore(async (store) => {
    const clock = new TestClock(NOW);
    const bus = createInProcessBus({ clock, log: silent });
    const worker = await startBilling({ bus, store, clock, log: silent });
    await bus.publish(events);
    await worker.stop();
    await bus.close();
  });

const tollgate = (line: string) => terminal.tollgate(line.split(" "));
const theBill = async () => JSON.parse((await tollgate("bill alice --json")).out) as Bill;

describe("tollgate bill, with taxes", () => {
  it("has the taxes that were on what was charged, in every format, whatever is configured now (M18)", async () => {
    expect((await theBill()).totals).toEqual([{ currency: "EUR", amount: "26.15", tax: "4.97", due: "31.12" }]);
    expect((await tollgate("bill alice")).out).toMatch(/VAT 19% of 26\.15 +4\.97 EUR\nTotal +31\.12 EUR\n/);
    expect((await tollgate("bill alice --csv")).out).toMatch(
      /\r\nalice,\d{4}-\d\d,,,,tax,vat,,VAT,.*,4\.97,EUR,.*,19,,\r\n$/,
    );
    const html = (await tollgate("bill alice --html")).out;
    expect(html).toMatch(/^<!DOCTYPE html>[\s\S]*VAT 19% of 26\.15[\s\S]*31\.12 EUR[\s\S]*<\/html>\n$/);
  });

  it("shows the parts of one call together (M20-M24)", async () => {
    const { out } = await tollgate("bill alice");
    expect(out).toContain("calls in several parts\n  s2 (english), s3 (english)\n");
  });

  it("lists every entry where that is wanted", async () => {
    const { entries } = JSON.parse((await tollgate("bill alice --all --json")).out) as { entries: unknown[] };
    expect(entries).toHaveLength(4);
  });
});

describe("tollgate settlement (M19)", () => {
  it("prints what an app server is owed by what was agreed then, for people, as JSON, CSV and as a page", async () => {
    const { code, out } = await tollgate("settlement teacher-1");
    expect(code).toBe(0);
    // 25.00, half of 1.15 of time; less 5% and three times 0.10.
    expect(out).toMatch(/belongs to the app server +25\.575 EUR/);
    expect(out).toMatch(/Due to the app server +24\.00 EUR\n$/);
    expect(JSON.parse((await tollgate("settlement teacher-1 --json")).out)).toMatchObject({
      appServer: "teacher-1",
      totals: [{ currency: "EUR", sessions: 3, due: "24.00" }],
    });
    expect((await tollgate("settlement teacher-1 --csv")).out.split("\r\n")).toHaveLength(8);
    expect((await tollgate("settlement teacher-1 --html")).out).toContain("24.00 EUR");
  });

  it("says so where nothing was charged, and knows no app server that never was", async () => {
    expect(await tollgate("settlement teacher-1 --month 2001-01")).toMatchObject({
      code: 0,
      out: expect.stringContaining("Nothing was charged."),
    });
    expect(await tollgate("settlement techaer-1")).toMatchObject({ code: 1, out: "" });
    expect((await tollgate("settlement teacher-1 --json --csv")).code).toBe(2);
    expect((await tollgate("settlement teacher-1 --month May")).code).toBe(2);
  });
});

describe("tollgate correct", () => {
  const ENTRY = "s1:charge:teacher-1:1";
  const correct = (...more: string[]) =>
    terminal.tollgate(["correct", "alice", "--amount", "-5.00", "--reason", "bottle was broken", ...more]);

  it("puts an entry right by a new one: on the bill, at the settlement, in what rebill makes", async () => {
    const before = (await tollgate("bill alice --csv")).out.split("\r\n");
    expect(await correct("--entry", ENTRY, "--id", "t1")).toMatchObject({
      code: 0,
      out: `correction:t1: -5.00 EUR on the bill of alice for ${MONTH}\n`,
    });
    const after = (await tollgate("bill alice --csv")).out.split("\r\n");
    // What was there is as it was; behind it stands the tax.
    expect(after.slice(0, before.length - 2)).toEqual(before.slice(0, -2));
    expect(after.find((row) => row.includes("correction:t1"))).toContain(`bottle was broken,${ENTRY}`);
    expect((await theBill()).totals[0]!.amount).toBe("21.15");
    expect((await tollgate("settlement teacher-1")).out).toMatch(/belongs to the app server +20\.575 EUR/);
    expect(await tollgate(`rebill --dry-run --month ${MONTH}`)).toMatchObject({ code: 0 });
  });

  it("has the taxes and what was agreed of the entry that it corrects, or without one those of now", async () => {
    await correct("--entry", ENTRY, "--id", "t1");
    expect((await theBill()).taxes.map(({ rate, net }) => `${rate}% of ${net}`)).toEqual(["19% of 21.15"]);
    await correct("--currency", "EUR", "--service", "english", "--app-server", "teacher-1", "--id", "t2");
    expect((await theBill()).taxes.map(({ rate, net }) => `${rate}% of ${net}`)).toEqual([
      "19% of 21.15",
      "21% of -5.00",
    ]);
    expect((await tollgate("settlement teacher-1")).out).toMatch(/fee, 5%[\s\S]*fee, 7% +0\.35 EUR/);
    expect(await tollgate(`rebill --dry-run --month ${MONTH}`)).toMatchObject({ code: 0 });
  });

  it("is made once with one id, and refused with other terms under it", async () => {
    for (const said of ["correction:t1: ", "correction:t1 is there already: "]) {
      const { code, out } = await correct("--currency", "EUR", "--id", "t1");
      expect(code).toBe(0);
      expect(out.startsWith(said)).toBe(true);
    }
    expect((await theBill()).totals[0]!.amount).toBe("21.15");
    expect((await tollgate("correct alice --amount -6.00 --currency EUR --reason x --id t1")).code).toBe(1);
    expect((await theBill()).totals[0]!.amount).toBe("21.15");
  });

  it("of time is at the settlement as time is", async () => {
    await correct("--entry", "s1:ended");
    expect((await tollgate("settlement teacher-1")).out).toMatch(/belongs to the app server +23\.075 EUR/);
  });

  it.each([
    ["correct alice --amount -5.00 --reason x", 2],
    ["correct alice --amount 0 --currency EUR --reason x", 2],
    ["correct alice --amount five --currency EUR --reason x", 2],
    ["correct alice --amount 1000000000000 --currency EUR --reason x", 2],
    ["correct alice --amount -0.0000001 --currency EUR --reason x", 2],
    ["correct alice --amount 5 --currency EURO --reason x", 2],
    ["correct alice --amount 5 --currency USD --reason x --entry s1:ended", 2],
    ["correct alice --amount 5 --reason x --entry s9:ended", 1],
    ["correct bob --amount 5 --reason x --entry s1:ended", 1],
    ["correct nobody --amount 5 --currency EUR --reason x", 1],
    ["correct alice --amount 5 --currency EUR", 2],
  ])("refuses %s with %i", async (line, code) => {
    expect((await tollgate(line)).code).toBe(code);
    expect((await theBill()).totals[0]!.amount).toBe("26.15");
  });
});

describe("tollgate correct, in words", () => {
  const correct = (...more: string[]) =>
    terminal.tollgate(["correct", "alice", "--amount", "-5.00", "--currency", "EUR", ...more]);

  it.each([
    ["no id, as of a variable that is not set", ["--reason", "x", "--id", ""]],
    ["an id of blanks", ["--reason", "x", "--id", "  "]],
    ["an id of two lines (U+2028)", ["--reason", "x", "--id", "a\u2028b"]],
    ["no reason", ["--reason", " "]],
    ["a reason of two lines (U+2029)", ["--reason", "a\u2029b"]],
    ["a reason of 201 characters", ["--reason", "x".repeat(201)]],
    ["no service", ["--reason", "x", "--service", ""]],
    ["no app server", ["--reason", "x", "--app-server", ""]],
  ])("refuses %s with 2", async (_what, more) => {
    expect((await correct(...more)).code).toBe(2);
    expect((await theBill()).totals[0]!.amount).toBe("26.15");
  });

  it("an id is the same in either form of Unicode, and whatever blanks are around it", async () => {
    for (const id of ["caf\u00e9", "cafe\u0301", " caf\u00e9 "])
      expect((await correct("--reason", "x", "--id", id)).code).toBe(0);
    expect((await theBill()).totals[0]!.amount).toBe("21.15");
  });
});

describe("tollgate rebill", () => {
  it("finds bills to be what the events make of them", async () => {
    const { code, out } = await tollgate("rebill --dry-run");
    expect([code, out]).toEqual([0, `${MONTH}: 4 events kept, 4 entries made of them, 0 differences\n`]);
  });

  it("shows what no event explains, with exit code 1", async () => {
    const entry = {
      kind: "item" as const,
      id: "forged",
      at: NOW,
      month: MONTH,
      user: "alice",
      service: "english",
      appServer: "teacher-1",
      session: "s1",
      currency: "EUR",
      amount: "100.00",
      item: "nothing",
      unitPrice: "100.00",
      quantity: "1",
      channel: "info",
    };
    await withStore((store) => store.billing.write({ accounts: [], entries: [entry] }));
    for (const line of ["rebill --dry-run", "rebill", "rebill --user alice"]) {
      const { code, out } = await tollgate(line);
      expect(code).toBe(1);
      expect(out).toContain("no event for forged  alice  english  100.00 EUR\n");
    }
    expect((await tollgate("rebill --user bob")).code).toBe(0);
  });

  it("makes nothing of a month that is no longer kept; a bill of it says that it may be less than there was", async () => {
    terminal.write("tollgate.yaml", "retention: { entriesMonths: 12, eventsMonths: 3 }\n");
    const [old, older] = [monthBefore(MONTH, 4), monthBefore(MONTH, 13)];
    expect(await tollgate(`rebill --month ${monthBefore(MONTH, 3)}`)).toMatchObject({ code: 0 });
    const refused = await tollgate(`rebill --month ${old}`);
    expect([refused.code, refused.err]).toEqual([
      1,
      expect.stringContaining(`events are kept for 3 months (retention.eventsMonths), those of ${old} are removed`),
    ]);
    for (const line of [
      `bill alice --month ${older}`,
      `settlement teacher-1 --month ${older}`,
      `export cdr --month ${older}`,
    ])
      expect((await tollgate(line)).err).toContain(`note: lines on bills are kept for 12 months`);
    expect((await tollgate(`bill alice --month ${old}`)).err).toBe("");
  });

  it("writes what is missing, unless it is told not to", async () => {
    const events = wholeSession(facts({ id: "lost" }), 61_000, [], NOW);
    const archive = [{ month: MONTH, events: events as never }];
    await withStore((store) => store.billing.write({ accounts: [], entries: [], archive }));
    expect((await tollgate("rebill --dry-run")).out).toContain("missing      lost:ended  alice  english  0.45 EUR\n");
    expect((await theBill()).totals[0]!.amount).toBe("26.15");
    expect((await tollgate("rebill")).out).toMatch(/1 differences, 1 entries written\n$/);
    expect((await theBill()).totals[0]!.amount).toBe("26.60");
    expect((await tollgate("rebill")).code).toBe(0);
  });
});

describe("tollgate export cdr", () => {
  it("writes a record for each session, as CSV and as JSON lines", async () => {
    const { code, out } = await tollgate("export cdr");
    expect(code).toBe(0);
    expect(out.split("\r\n")).toHaveLength(5);
    const lines = (await tollgate("export cdr --format jsonl")).out.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ session: "s1", items_amount: "25.00", time_amount: "0.45", ended_by: "client" }),
      expect.objectContaining({ session: "s2", time_amount: "0.35", ended_by: "change" }),
      expect.objectContaining({ session: "s3", previous: "s2", ended_by: "server", call: "c1" }),
    ]);
  });

  it("takes a time", async () => {
    const day = (at: number) => new Date(at).toISOString();
    const { out } = await tollgate(`export cdr --from ${day(NOW + 1000)} --to ${day(NOW + 1001)}`);
    expect(out.split("\r\n").map((row) => row.split(",")[4])).toEqual(["session", "s3", undefined]);
    expect((await tollgate("export cdr --from 2001-01-05 --to 2001-02-05T10:00")).out.split("\r\n")).toHaveLength(2);
  });

  it.each(["--from soon", "--to 2026-01-01", "--from 2026-02-01 --to 2026-01-01", "--month 2026-01 --from 2026-01-01"])(
    "refuses %s with 2",
    async (options) => {
      expect((await tollgate(`export cdr ${options}`)).code).toBe(2);
    },
  );
});
