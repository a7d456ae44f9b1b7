import { it } from "vitest";
import { demo } from "../../src/cli/demo.ts";
import { collector } from "../support/collector.ts";

it.concurrent("the demo draws the ladders of its sessions, prints the bill and ends with 0", async ({ expect }) => {
  const { out, text } = collector();
  const code = await demo({ out });
  expect(code, text()).toBe(0);
  const shown = text();
  expect(shown).toContain("1. Alice shops for wine");
  expect(shown).toContain("2. Alice takes an English lesson");
  expect(shown).toContain("3. A wrong password");
  expect(shown).toContain("4. In one session wine becomes grappa");
  expect(shown).toContain("5. Alice moves on to the brewery");
  expect(shown).toContain("6. Alice moves on again");
  expect(shown).toContain("7. Two book shops answer one INVITE");
  expect(shown).toContain("calls in several parts");
  for (const arrow of [
    "INVITE wine",
    "200 OK, URL inside",
    "INFO, charges",
    "BYE",
    "401 Unauthorized",
    "404 ",
    "re-INVITE beer",
    "REFER beer",
  ])
    expect(shown).toContain(arrow);
  for (const item of ["Rioja Crianza", "Barolo", "Delivery", "Grappa di Barolo"]) expect(shown).toContain(item);
  expect(shown).toMatch(/All as expected: \d+ checks/);
  // No terminal: neither colours nor box characters.
  expect(shown).not.toMatch(/[\u001b\u2500-\u257f]/);
}, 20_000);

it.concurrent("the demo as JSON is one document with the same", async ({ expect }) => {
  const { out, text } = collector();
  const code = await demo({ out, json: true });
  expect(code, text()).toBe(0);
  const document = JSON.parse(text()) as {
    ok: boolean;
    failures: string[];
    checks: number;
    elapsedMs: number;
    scenes: { title: string; arrows: unknown[] }[];
    bills: { user: string; totals: { currency: string }[] }[];
  };
  expect(document).toMatchObject({ ok: true, failures: [] });
  expect(document.checks).toBeGreaterThan(20);
  expect(document.elapsedMs).toBeLessThan(20_000);
  expect(document.scenes).toHaveLength(7);
  for (const { arrows } of document.scenes) expect(arrows.length).toBeGreaterThan(4);
  expect(document.bills.flatMap(({ totals }) => totals.map(({ currency }) => currency))).toContain("EUR");
}, 20_000);
