/* Months in UTC, by which everything is billed. */

/** When a month, in the form of `monthOf`, begins (`from`) and ends (before `to`); milliseconds since 1970. */
export function monthSpan(month: string): { readonly from: number; readonly to: number } {
  const [year, number] = month.split("-").map(Number) as [number, number];
  return { from: Date.UTC(year, number - 1), to: Date.UTC(year, number) };
}

let known = { from: 0, to: 0, month: "" };

/** The month of a moment in UTC, as on entries: `2026-01`. Milliseconds since 1970. */
export function monthOf(at: number): string {
  if (at >= known.from && at < known.to) return known.month;
  const date = new Date(at);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()];
  known = { from: Date.UTC(year, month), to: Date.UTC(year, month + 1), month: date.toISOString().slice(0, -17) };
  return known.month;
}
