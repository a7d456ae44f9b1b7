import type { Money } from "./money.ts";
import { freeMsOf, rateDuration, type Tariff, type TariffUse } from "./tariff.ts";

/** A hundred years, which counts as for ever. */
export const FOREVER_MS = 3_155_760_000_000;

/**
 * How long a session may last, in milliseconds, until its time costs more than is paid for: the end of the last
 * increment that is paid for. 0: not even its beginning is paid for. `FOREVER_MS`: time costs nothing, or the cap is
 * paid for. `isPaid` must be true for every price below one that is paid. `before`: what earlier parts of the call have
 * used.
 */
export function coveredMs(tariff: Tariff | undefined, isPaid: (price: Money) => boolean, before?: TariffUse): number {
  if (tariff === undefined) return FOREVER_MS;
  const covers = (durationMs: number) => isPaid(rateDuration(tariff, durationMs, before));
  if (covers(FOREVER_MS)) return FOREVER_MS;
  // Counted as in rateDuration: first what is left of the free seconds, then whole increments.
  const freeMs = Math.max(0, freeMsOf(tariff) - (before?.freeMs ?? 0));
  const incrementMs = Math.max(1, Math.round((tariff.incrementS ?? 60) * 1000));
  if (!covers(freeMs)) return 0;
  let most = Math.ceil((FOREVER_MS - freeMs) / incrementMs);
  let least = 0; // increments that are covered for certain
  while (most - least > 1) {
    const middle = Math.floor((least + most) / 2);
    if (covers(freeMs + middle * incrementMs)) least = middle;
    else most = middle;
  }
  return freeMs + least * incrementMs;
}
