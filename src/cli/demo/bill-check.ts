import type { Entry } from "../../charging/billing-store.ts";
import type { Checks } from "./checks.ts";
import type { Measured } from "./scenes.ts";
import { LESSON_TARIFF } from "./stage.ts";

/** How far the relay's stopwatch may be from the client's: the two stand at different ends of a wire, on a machine that may be busy. */
const CLOCK_TOLERANCE_MS = 500;

/** Item, unit price, quantity, amount: what the wine shop has sold, by hand. */
const SOLD = [
  ["Barolo", "34.00", "1", "34.00"],
  ["Delivery", "4.90", "1", "4.90"],
  ["Rioja Crianza", "12.50", "2", "25.00"],
];
const SOLD_CENTS = 6390;

/** Holds the entries of the bill against what was bought and how long it took; sums are worked out here anew, in cents. Returns the total in cents. */
export function checkEntries(entries: readonly Entry[], visit: Measured, lesson: Measured, checks: Checks): number {
  const items = entries.flatMap((entry) => (entry.kind === "item" ? [entry] : []));
  const sold = items.map(({ item, unitPrice, quantity, amount }) => [item, unitPrice, quantity, amount]);
  checks.equal("items on the bill", normal(sold), normal(SOLD));
  checks.equal("services of the items", [...new Set(items.map(({ service }) => service))], ["wine"]);
  const channels = Object.fromEntries(items.map(({ item, channel }) => [item, channel]));
  checks.equal("ways by which the charges came", channels, {
    "Rioja Crianza": "info",
    Barolo: "info",
    Delivery: "bye",
  });

  const lessons = entries.flatMap((entry) => (entry.kind === "time" && entry.service === "english" ? [entry] : []));
  checks.equal("lessons on the bill", lessons.length, 1);
  checks.equal("sessions of the wine shop on the bill that cost time", paid(entries, "wine"), 0);
  const timed = lessons[0];
  if (!timed) return SOLD_CENTS;
  const off = Math.abs(timed.durationMs - lesson.elapsedMs);
  checks.that(
    off <= CLOCK_TOLERANCE_MS,
    `duration of the lesson: the bill says ${timed.durationMs} ms, the client measured ${lesson.elapsedMs} ms`,
  );
  checks.equal("who ended the lesson", timed.endedBy, "server");
  const begun = Math.ceil(timed.durationMs / (LESSON_TARIFF.incrementS * 1000));
  const cents = 25 + 10 * begun; // set-up fee, and the price of each begun increment
  checks.equal("price of the lesson", Number(timed.amount), cents / 100);
  checks.that(visit.session !== lesson.session, "both sessions have the same Call-ID");
  return SOLD_CENTS + cents;
}

const paid = (entries: readonly Entry[], service: string) =>
  entries.filter((entry) => entry.kind === "time" && entry.service === service && Number(entry.amount) !== 0).length;

/** In an order of its own, and decimals without the zeros at their end. */
const normal = (rows: readonly (readonly string[])[]) =>
  rows.map((row) => row.map((cell) => (/^[\d.]+$/.test(cell) ? String(Number(cell)) : cell))).sort();
