import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Entry } from "../../src/charging/billing/store.ts";
import { makeBill } from "../../src/charging/bills/bill.ts";
import { formatBill } from "../../src/charging/bills/format-bill.ts";
import type { SessionFacts } from "../../src/charging/events/events.ts";
import type { Store } from "../../src/store/types.ts";
import { systemClock } from "../../src/support/clock.ts";
import type { Logger } from "../../src/support/log.ts";

/* What the benchmarks of charging share. */

const quiet = () => {};
export const log = {
  trace: quiet,
  debug: quiet,
  info: quiet,
  warn: quiet,
  error: console.error,
  isLevelEnabled: () => false,
} as unknown as Logger;
export const clock = systemClock;
const TARIFF = { id: "lesson", currency: "EUR", setupFee: "0.25", price: "0.10", incrementS: 60 };
const known: SessionFacts[] = [];

/** The nth session, with an id as the relay makes them: in order of time, and random behind that. */
export function facts(n: number): SessionFacts {
  known[n] ??= makeFacts(n);
  return known[n];
}

function makeFacts(n: number): SessionFacts {
  const id = n.toString(36).padStart(9, "0") + createHash("md5").update(String(n)).digest("hex").slice(0, 20);
  return { id, user: `user${n % 1000}`, service: "english", appServer: "teacher-1", call: `call${id}`, tariff: TARIFF };
}

export async function inFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "tollgate-bench-"));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** The user and month that `fillMonth` fills. */
export const FULL = { user: "alice", month: "2026-01" } as const;

/** Puts so many charges on one account in one month; returns the milliseconds that took. */
export async function fillMonth(store: Store, charges: number): Promise<number> {
  const at = Date.UTC(2026, 0, 5);
  const started = performance.now();
  for (let n = 0; n < charges; n += 2000) {
    const entries: Entry[] = [];
    for (let i = n; i < Math.min(charges, n + 2000); i++) {
      const session = `s${i >> 4}`;
      entries.push({
        id: `${session}:charge:shop:${i}`,
        at: at + i,
        ...FULL,
        service: "wine",
        appServer: "shop",
        session,
        kind: "item",
        item: "Riesling",
        unitPrice: "0.01",
        quantity: "1",
        amount: "0.01",
        currency: "EUR",
        channel: "info",
      });
    }
    await store.billing.write({ accounts: [], entries });
  }
  return performance.now() - started;
}

/** Milliseconds that the bill of that month takes, as text. Throws where it is wrong. */
export async function timeBill(store: Store, charges: number): Promise<number> {
  const before = performance.now();
  const bill = await makeBill(store, FULL.user, FULL.month);
  const text = formatBill(bill);
  const took = performance.now() - before;
  if (bill.totals[0]?.due !== (charges / 100).toFixed(2)) throw new Error(`the bill is wrong:\n${text}`);
  return took;
}
