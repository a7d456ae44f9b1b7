import { describe, expect, it } from "vitest";
import type { Entry, ItemEntry, TimeEntry } from "../../src/charging/billing/store.ts";
import { isMonth, makeBill } from "../../src/charging/bills/bill.ts";
import { formatBill } from "../../src/charging/bills/format-bill.ts";
import { billHtml } from "../../src/charging/bills/html-bill.ts";
import { billCsv, billJson, billList } from "../../src/charging/bills/rows.ts";
import type { AppliedTax } from "../../src/charging/money/terms.ts";
import { correction, item, time } from "../contract/store.contract.ts";
import { MemoryBilling } from "./memory-store.ts";
import { JANUARY, numbers, shuffled } from "./samples.ts";

const MINUTE = 60_000;
const lesson = (session: string, over: Partial<TimeEntry> = {}) =>
  time(session, { service: "english", appServer: "teacher-1", ...over });
const sold = (n: number, over: Partial<ItemEntry> = {}) =>
  item(n, {
    id: `s1:charge:shop-1:${n}`,
    item: "Rioja Crianza",
    unitPrice: "12.50",
    quantity: "2",
    amount: "25.00",
    ...over,
  });

const gathered = async (parts: AsyncIterable<string>): Promise<string> => {
  let text = "";
  for await (const part of parts) text += part;
  return text;
};

const january: Entry[] = [
  time("s1", { currency: "", amount: "0", durationMs: 12 * MINUTE + 30_400 }),
  sold(1, { at: JANUARY + MINUTE }),
  sold(2, { at: JANUARY + 2 * MINUTE, item: "赤ワイン", unitPrice: "4.90", quantity: "1", amount: "4.90" }),
  lesson("s2", { at: JANUARY + 60 * MINUTE, durationMs: 61_000, amount: "0.45" }),
  lesson("s3", { at: JANUARY + 120 * MINUTE, durationMs: 3_600_000, amount: "6.25" }),
  {
    ...sold(9, {
      at: JANUARY + 121 * MINUTE,
      amount: "0.24975",
      unitPrice: "0.333",
      quantity: "0.75",
      item: "Worksheet",
    }),
    id: "s3:charge:x:9",
    session: "s3",
    service: "english",
    appServer: "teacher-1",
  },
];

/** The same entries, made when these taxes were on them. */
const taxed = (entries: readonly Entry[], ...taxes: readonly AppliedTax[]): Entry[] =>
  entries.map((entry) => ({ ...entry, terms: { taxes, fee: { percent: "5" } } }));

async function csvOf(entries: readonly Entry[]): Promise<string> {
  const billing = new MemoryBilling();
  await billing.write({ accounts: [], entries });
  return gathered(billCsv({ billing }, "alice", "2026-01"));
}

async function bill(entries: readonly Entry[], options?: { maxEntries?: number }) {
  const billing = new MemoryBilling();
  await billing.write({ accounts: [], entries });
  return makeBill({ billing }, "alice", "2026-01", options);
}

describe("one bill covers every service (M18)", () => {
  it("lists services, their sessions, time and items, with sums", async () => {
    const made = await bill(january);
    expect(made).toMatchObject({ user: "alice", month: "2026-01", detailed: true });
    expect(made.services.map(({ service, sessions }) => [service, sessions.map(({ session }) => session)])).toEqual([
      ["english", ["s2", "s3"]],
      ["wine", ["s1"]],
    ]);
    const [wine] = made.services[1]!.sessions;
    expect(wine).toMatchObject({
      appServer: "shop-1",
      at: JANUARY,
      time: { durationMs: 750_400, amount: "0", currency: "" },
    });
    expect(wine!.items.map(({ item, amount }) => [item, amount])).toEqual([
      ["Rioja Crianza", "25.00"],
      ["赤ワイン", "4.90"],
    ]);
    expect(wine!.totals).toEqual([{ currency: "EUR", amount: "29.90" }]);
    expect(made.services[0]!.sums).toEqual([
      {
        service: "english",
        currency: "EUR",
        sessions: 2,
        durationMs: 3_661_000,
        timeAmount: "6.70",
        charges: 1,
        itemAmount: "0.24975",
      },
    ]);
  });

  it("adds up exactly, and rounds once, at the end", async () => {
    expect((await bill(january)).totals).toEqual([{ currency: "EUR", amount: "36.84975", due: "36.85" }]);
    const thirds = Array.from({ length: 3 }, (_, n) => sold(n, { amount: "0.005" }));
    expect((await bill(thirds)).totals).toEqual([{ currency: "EUR", amount: "0.015", due: "0.02" }]);
  });

  it("has a total for each currency", async () => {
    const made = await bill([...january, sold(3, { currency: "JPY", amount: "500", unitPrice: "500", quantity: "1" })]);
    expect(made.totals.map(({ currency, due }) => `${due} ${currency}`)).toEqual(["36.85 EUR", "500 JPY"]);
  });

  it("shows charges whose session's time is not on it", async () => {
    const made = await bill([sold(1)]);
    expect(made.services[0]!.sessions[0]).toMatchObject({
      session: "s1",
      at: JANUARY + 1,
      items: [{ amount: "25.00" }],
    });
    expect(made.services[0]!.sessions[0]!.time).toBeUndefined();
  });

  it("lists sessions by their start, also where a charge came before it", async () => {
    const early = sold(1, { id: "s7:charge:shop-1:1", session: "s7", at: JANUARY - 5 });
    const made = await bill([early, time("s8", { at: JANUARY - 3 }), time("s7", { at: JANUARY })]);
    expect(made.services[0]!.sessions.map(({ session }) => session)).toEqual(["s8", "s7"]);
  });

  it("is the same from entries in any order", async () => {
    const random = numbers(9);
    const bills = new Set<string>();
    for (let i = 0; i < 20; i++) bills.add(formatBill(await bill(shuffled(january, random)), "json"));
    expect(bills.size).toBe(1);
  });

  it("reads any number of pages", async () => {
    const many = Array.from({ length: 2_500 }, (_, n) => sold(n, { amount: "0.01" }));
    const made = await bill(many);
    expect(made.services[0]!.sessions[0]!.items).toHaveLength(2_500);
    expect(made.totals).toEqual([{ currency: "EUR", amount: "25.00", due: "25.00" }]);
  });

  it("has the sums only where there are too many entries to list, and they are the same sums", async () => {
    const short = await bill(january, { maxEntries: 5 });
    const long = await bill(january, { maxEntries: 6 });
    expect(short).toEqual({
      ...long,
      detailed: false,
      services: long.services.map((service) => ({ ...service, sessions: [] })),
    });
  });

  it("has no other month's and no other user's entries", async () => {
    const made = await bill([...january, { ...sold(50), user: "bob" }, { ...sold(51), month: "2026-02" }]);
    expect(made).toEqual(await bill(january));
  });

  it("knows what a month is", () => {
    expect(["2026-01", "2026-12"].every(isMonth)).toBe(true);
    expect(["2026-00", "2026-13", "26-01", "2026-1", "2026-01-05", ""].some(isMonth)).toBe(false);
  });
});

describe("calls in several parts on a bill (M20-M24)", () => {
  const part = (session: string, at: number, service: string, previous?: TimeEntry["previous"]) =>
    time(session, { at: JANUARY + at, service, amount: "1.00", ...(previous && { previous }) });
  const parts: Entry[] = [
    part("p1", 0, "wine"),
    part("p2", 10, "english", { session: "p1", by: "change" }),
    part("p3", 20, "beer", { session: "p2", by: "move" }),
    part("alone", 5, "wine"),
    part("rest", 30, "wine", { session: "of last month", by: "change" }),
    sold(1, { session: "p2", service: "english", amount: "25.00", id: "p2:charge:shop-1:1" }),
  ];

  it("are shown together, with what they come to, from entries in any order", async () => {
    for (let seed = 1; seed < 20; seed++) {
      const { calls, services } = await bill(shuffled(parts, numbers(seed)));
      expect(calls).toEqual([
        {
          parts: [
            { session: "p1", service: "wine", appServer: "shop-1" },
            { session: "p2", service: "english", appServer: "shop-1" },
            { session: "p3", service: "beer", appServer: "shop-1" },
          ],
          totals: [{ currency: "EUR", amount: "28.00" }],
        },
      ]);
      expect(services.find(({ service }) => service === "beer")!.sessions[0]!.previous).toEqual({
        session: "p2",
        by: "move",
      });
    }
  });

  it("are named for people", async () => {
    const text = formatBill(await bill(parts));
    expect(text).toContain("(session p2, after p1, changed)");
    expect(text).toContain("(session p3, moved from p2)");
    expect(text).toContain("  p1 (wine), p2 (english), p3 (beer)\n");
    expect(text).toMatch(/ {4}together +28\.00 EUR/);
  });
});

describe("corrections on a bill", () => {
  const corrected = [
    ...january,
    correction("1", { amount: "-5.00", reason: "bottle was broken" }),
    correction("2", { amount: "1.00", service: "", appServer: "", session: "", reason: "=1+1" }),
  ];

  it("stand under their service with their reason, and count in its sum and in the total", async () => {
    const made = await bill(corrected);
    const wine = made.services.find(({ service }) => service === "wine")!;
    expect(wine.corrections).toEqual([expect.objectContaining({ amount: "-5.00", reason: "bottle was broken" })]);
    expect(made.totals).toEqual([{ currency: "EUR", amount: "32.84975", due: "32.85" }]);
    const text = formatBill(made);
    expect(text).toMatch(/correction: bottle was broken +-5\.00 EUR/);
    expect(text).toMatch(/sum of wine +24\.90 EUR/);
    expect(text).toMatch(/sum of no service +1\.00 EUR/);
  });

  it("are in the sums of a long bill too", async () => {
    const text = formatBill(await bill(corrected, { maxEntries: 1 }));
    expect(text).toContain("1 correction");
    expect(text).toMatch(/Total +32\.85 EUR/);
  });

  it("are rows of their own as CSV, and no formula", async () => {
    const rows = (await csvOf(corrected)).split("\r\n").filter((row) => row.includes("correction:"));
    expect(rows[0]).toContain(",-5.00,EUR,,,bottle was broken,");
    expect(rows[1]).toContain(",'=1+1,");
  });
});

describe("taxes on a bill", () => {
  const vat = { id: "vat", title: "VAT", rate: "20", included: false };

  it("stand above the total that they are in", async () => {
    const text = formatBill(await bill(taxed(january, vat)));
    expect(text).toMatch(/Charges +36\.84975 EUR\nVAT 20% of 36\.85 +7\.37 EUR\nTotal +44\.22 EUR\n$/);
  });

  it("stand below the total that contains them", async () => {
    const text = formatBill(await bill(taxed(january, { ...vat, included: true })));
    expect(text).toMatch(/Total +36\.85 EUR\n.*\n {2}contains VAT 20% of 30\.71 +6\.14 EUR\n$/);
  });

  it("are the same on a bill that has the sums only", async () => {
    const [short, long] = [await bill(taxed(january, vat), { maxEntries: 1 }), await bill(taxed(january, vat))];
    expect(long.taxes).toHaveLength(1);
    expect([short.taxes, short.totals]).toEqual([long.taxes, long.totals]);
  });

  it("are those of the time of each entry: a rate that changes in the middle of a month is two lines", async () => {
    const entries = [...taxed(january.slice(0, 3), vat), ...taxed(january.slice(3), { ...vat, rate: "21" })];
    const made = await bill(entries);
    expect(made.taxes.map(({ rate, net, amount }) => [rate, net, amount])).toEqual([
      ["20", "29.90", "5.98"],
      ["21", "6.95", "1.46"],
    ]);
    expect(made.totals).toEqual([{ currency: "EUR", amount: "36.84975", tax: "7.44", due: "44.29" }]);
    const text = formatBill(made);
    expect(text).toMatch(/VAT 20% of 29\.90 +5\.98 EUR\nVAT 21% of 6\.95 +1\.46 EUR\nTotal +44\.29 EUR\n/);
    const short = await bill(entries, { maxEntries: 1 });
    expect([short.taxes, short.totals]).toEqual([made.taxes, made.totals]);
    // One sum for each service, whatever the rates.
    expect(made.services.map(({ service, sums }) => [service, sums.map(({ currency }) => currency)])).toEqual([
      ["english", ["EUR"]],
      ["wine", ["", "EUR"]],
    ]);
    expect(short.services.map(({ sums }) => sums)).toEqual(made.services.map(({ sums }) => sums));
  });

  it("are on it with each entry, and what was agreed with the app server is not", async () => {
    const made = await bill(taxed([sold(1), correction("1")], vat));
    expect(made.services[0]!.sessions[0]!.items[0]).toMatchObject({ taxes: [vat] });
    expect(made.services[0]!.corrections[0]).toMatchObject({ taxes: [vat] });
    const billing = new MemoryBilling();
    await billing.write({ accounts: [], entries: taxed([sold(1)], vat, { id: "levy", rate: "2", included: true }) });
    const json = await gathered(billJson({ billing }, "alice", "2026-01"));
    for (const text of [JSON.stringify(made), json]) expect(text).not.toContain("fee");
    expect(json).toContain('"taxes":[{"id":"vat"');
    const rows = (await gathered(billCsv({ billing }, "alice", "2026-01"))).split("\r\n");
    expect(rows[0]).toMatch(/,rate,taxes,prepaid$/);
    expect(rows[1]).toMatch(/,"?vat 20%; levy 2% included"?,$/);
  });
});

describe("a bill as a page to print", () => {
  const page = async (entries: readonly Entry[], maxEntries = 100, all = false) => {
    const billing = new MemoryBilling();
    await billing.write({ accounts: [], entries });
    const made = await makeBill({ billing }, "alice", "2026-01", { maxEntries });
    return gathered(billHtml(made, all ? { billing } : undefined));
  };

  it("has what the bill has, and is one file that runs and loads nothing", async () => {
    const html = await page(january);
    for (const text of ["Bill for alice", "english", "Rioja Crianza", "赤ワイン", "2 × 12.50", "36.85 EUR"])
      expect(html).toContain(text);
    expect(html).not.toMatch(/<script|<link|<img|<iframe|url\(|@import|javascript:|\son\w+=/i);
    expect(html).toContain("@page{size:A4");
    expect(html).toMatch(/<meta http-equiv="Content-Security-Policy" content="default-src 'none'/);
  });

  it.each(["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&amp;b", "</td></table>", "\u202eabc\0"])(
    "shows %j as it is written, and nothing else of it",
    async (text) => {
      const html = await page([sold(1, { item: text, service: text, appServer: text, session: text, id: "x" })]);
      expect(html).not.toMatch(/<script|<img|&amp;b[^a]|\u202e|\0/);
      const cells = html.match(/<(td|h2|table|tr)\b/g)!.length;
      const harmless = await page([sold(1, { item: "a", service: "a", appServer: "a", session: "a", id: "x" })]);
      expect(cells).toBe(harmless.match(/<(td|h2|table|tr)\b/g)!.length);
    },
  );

  it("has the sums only where there are too many entries, and every one of them where all are wanted", async () => {
    const html = await page(january, 1);
    expect(html).toContain("Too many entries");
    expect(html).not.toContain("Rioja");
    const all = await page(january, 1, true);
    expect(all).toContain("Rioja");
    expect(all).not.toContain("Too many entries");
    expect(all.match(/<td class="w">/g)).toHaveLength(january.length);
  });
});

describe("every entry of a long bill", () => {
  it("is listed by time, for people and as JSON, page by page", async () => {
    const billing = new MemoryBilling();
    const entries = Array.from({ length: 2_500 }, (_, n) => sold(n, { amount: "0.01" }));
    await billing.write({ accounts: [], entries: [...entries, correction("1", { at: JANUARY + 9_000 })] });
    const text = await gathered(billList({ billing }, "alice", "2026-01"));
    expect(text.trimEnd().split("\n")).toHaveLength(2_501);
    expect(text).toContain("correction: broken");
    const json = JSON.parse(await gathered(billJson({ billing }, "alice", "2026-01"))) as {
      entries: Entry[];
      totals: unknown;
    };
    expect(json.entries.map(({ id }) => id)).toEqual([...entries.map(({ id }) => id), "correction:1"]);
    expect(json.totals).toEqual([{ currency: "EUR", amount: "24.95", due: "24.95" }]);
  });
});

describe("a bill as text", () => {
  it("is aligned, also with wide characters", async () => {
    expect(formatBill(await bill(january))).toBe(
      [
        "Bill for alice, 2026-01 (UTC)",
        "",
        "english",
        "  2026-01-05 11:00:00  teacher-1  (session s2)",
        "    time                0:01:01      0.45 EUR",
        "  2026-01-05 12:00:00  teacher-1  (session s3)",
        "    time                1:00:00      6.25 EUR",
        "    Worksheet      0.75 x 0.333   0.24975 EUR",
        "  sum of english                  6.94975 EUR",
        "",
        "wine",
        "  2026-01-05 10:00:00  shop-1  (session s1)",
        "    time                0:12:31          free",
        "    Rioja Crianza     2 x 12.50     25.00 EUR",
        "    赤ワイン           1 x 4.90      4.90 EUR",
        "  sum of wine                       29.90 EUR",
        "",
        "Total                               36.85 EUR",
        "  rounded from                   36.84975 EUR",
        "",
      ].join("\n"),
    );
  });

  it("says so where there is nothing", async () => {
    expect(formatBill(await bill([]))).toBe("Bill for alice, 2026-01 (UTC)\n\nNothing to pay.\n");
    expect(formatBill(await bill([january[0]!]))).toContain("free\n\nNothing to pay.\n");
  });

  it("says so where it has the sums only", async () => {
    const text = formatBill(await bill(january, { maxEntries: 1 }));
    expect(text).toContain("Too many entries to list here: these are the sums.");
    expect(text).toMatch(/2 sessions +1:01:01 +6\.70 EUR/);
    expect(text).toMatch(/1 charge +0\.24975 EUR/);
    expect(text).not.toContain("session s2");
  });

  it("lets no item move the cursor or turn the line around", async () => {
    const text = formatBill(await bill([sold(1, { item: "a\u001b[2Jb\u202ec\u2028d\nTotal" })]));
    expect(text).toContain("a?[2Jb?c?d?Total");
  });
});

describe("a bill as CSV", () => {
  it("has a row for each entry, by its time (RFC 4180)", async () => {
    const rows = (await csvOf(january)).split("\r\n");
    expect(rows).toHaveLength(8);
    expect(rows[0]).toMatch(
      /^user,month,service,session,app_server,kind,id,at,item,unit_price,quantity,duration_ms,ended_by,tariff,channel,amount,currency,/,
    );
    expect(rows[4]).toBe(
      "alice,2026-01,english,s2,teacher-1,time,s2:ended,2026-01-05T11:00:00.000Z,,,,61000,client,lesson,,0.45,EUR,,,,,,,",
    );
    expect(rows[2]).toBe(
      "alice,2026-01,wine,s1,shop-1,item,s1:charge:shop-1:1,2026-01-05T10:01:00.000Z,Rioja Crianza,12.50,2,,,,info,25.00,EUR,,,,,,,",
    );
    expect(rows[7]).toBe("");
  });

  it("quotes what RFC 4180 wants quoted", async () => {
    const csv = await csvOf([sold(1, { item: 'Wine, "red"' })]);
    expect(csv).toContain(',"Wine, ""red""",');
  });

  it.each(["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", ' =cmd|"/c calc"'])("disarms the formula %j", async (text) => {
    const csv = await csvOf([sold(1, { item: text })]);
    expect(csv).toContain(`${text.startsWith("\t") ? "\t'=1" : `'${text.replaceAll('"', '""')}`}`);
  });

  it("leaves negative amounts the numbers that they are", async () => {
    expect(await csvOf([sold(1, { amount: "-1.00", item: "correction" })])).toContain(",-1.00,EUR,,,,,,,\r\n");
  });

  it("has a row for each tax", async () => {
    const rows = (await csvOf(taxed(january, { id: "vat", title: "VAT", rate: "20", included: false }))).split("\r\n");
    expect(rows.at(-2)).toBe("alice,2026-01,,,,tax,vat,,VAT,,,,,,,7.37,EUR,,,,,20,,");
  });
});

describe("a bill as JSON", () => {
  it("is the bill, with amounts as text", async () => {
    const made = await bill(january);
    const json = formatBill(made, "json");
    expect(JSON.parse(json)).toEqual(made);
    expect(json).toContain('"due": "36.85"');
  });
});
