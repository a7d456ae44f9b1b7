import type { Entry, TimeEntry } from "../../charging/billing/store.ts";
import type { Bill } from "../../charging/bills/bill.ts";
import type { Checks } from "./checks.ts";
import { CALLS, LINKS, SESSIONS, SOLD } from "./expected.ts";
import type { Measured } from "./scenes.ts";
import { SPANISH_ITEMS } from "./school.ts";
import { LESSON_TARIFF } from "./stage.ts";

/**
 * How far the relay's clock may be from the client's: the two measure at different ends of a wire, on a machine that
 * may be busy.
 */
const CLOCK_TOLERANCE_MS = 500;

/** What the client measured of its lessons; `killed`: of the one whose node was killed, in a cluster. */
export interface Lessons {
  readonly lesson: Measured;
  readonly killed: Measured | undefined;
}

/** Compares the bill with what was bought and how long it took. The sums are worked out here again, in cents. */
export function checkBill(
  entries: readonly Entry[],
  bills: readonly Bill[],
  { lesson, killed }: Lessons,
  checks: Checks,
): void {
  const all = entries.flatMap((entry) => (entry.kind === "item" ? [entry] : []));
  const items = all.filter(({ service }) => service !== "spanish");
  const sold = items.map(({ item, unitPrice, quantity, amount, service, channel }) => [
    item,
    unitPrice,
    quantity,
    amount,
    service,
    channel,
  ]);
  checks.equal("items on the bill", normal(sold), normal(SOLD));

  const times = entries.flatMap((entry) => (entry.kind === "time" ? [entry] : []));
  const sessions = times.filter(({ service }) => service !== "english" && service !== "spanish");
  const paid = sessions.map(({ service, appServer, amount }) => [service, appServer, amount]);
  checks.equal("sessions on the bill", normal(paid), normal(SESSIONS));
  checks.equal("links between sessions", links(times), LINKS);
  // If the demo runs over midnight at the end of a month, they stand on two bills.
  const calls = bills.flatMap(({ calls }) => calls.map(({ parts }) => parts.map(({ service }) => service)));
  if (bills.length === 1) checks.equal("calls in several parts", calls, CALLS);

  const known = [...SOLD.map((one) => one[3]), ...SESSIONS.map((one) => one[2])];
  let cents = known.reduce((sum, amount) => sum + toCents(amount), 0) + checkLesson("english", times, lesson, checks);
  if (killed) {
    const lasting = all.filter(({ service }) => service === "spanish");
    const names = (rows: readonly { readonly item: string }[]) => rows.map(({ item }) => item).sort();
    checks.equal("items of the lesson whose node was killed", names(lasting), names(SPANISH_ITEMS));
    cents += SPANISH_ITEMS.reduce((sum, { unitPrice }) => sum + toCents(unitPrice), 0);
    cents += checkLesson("spanish", times, killed, checks);
  }
  const due = bills.flatMap(({ totals }) => totals).reduce((sum, { due }) => sum + toCents(due), 0);
  checks.equal("total of the bill, in cents", due, cents);
}

/** Returns its price in cents. */
function checkLesson(id: string, times: readonly TimeEntry[], lesson: Measured, checks: Checks): number {
  const lessons = times.filter(({ service }) => service === id);
  checks.equal(`${id} lessons on the bill`, lessons.length, 1);
  const [timed] = lessons;
  if (!timed) return 0;
  const off = Math.abs(timed.durationMs - lesson.elapsedMs);
  checks.that(
    off <= CLOCK_TOLERANCE_MS,
    `duration of the ${id} lesson: the bill says ${timed.durationMs} ms, the client measured ${lesson.elapsedMs} ms`,
  );
  checks.equal(`who ended the ${id} lesson`, timed.endedBy, "server");
  const begun = Math.ceil(timed.durationMs / (LESSON_TARIFF.incrementS * 1000));
  const cents = 25 + 10 * begun; // set-up fee, and the price of each begun increment
  checks.equal(`price of the ${id} lesson`, Number(timed.amount), cents / 100);
  return cents;
}

/** For each session that follows another one, which one that is. */
function links(times: readonly TimeEntry[]): string[] {
  const services = new Map(times.map(({ session, service }) => [session, service]));
  return times
    .flatMap(({ service, previous }) =>
      previous
        ? [`${service}, ${previous.by} of ${services.get(previous.session) ?? "a session that is not there"}`]
        : [],
    )
    .sort();
}

const toCents = (amount: string) => Math.round(Number(amount) * 100);

/** Sorted, and decimals without the zeros at their end. */
const normal = (rows: readonly (readonly string[])[]) =>
  rows.map((row) => row.map((cell) => (/^[\d.]+$/.test(cell) ? String(Number(cell)) : cell)).join(", ")).sort();
