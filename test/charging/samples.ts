import { pino } from "pino";
import type { Charge } from "../../src/charging/events/charge-fields.ts";
import {
  type ChargingEvent,
  chargeMade,
  type SessionFacts,
  sessionEnded,
  sessionStarted,
} from "../../src/charging/events/events.ts";
import type { Tariff } from "../../src/charging/money/tariff.ts";
import type { Logger } from "../../src/support/log.ts";

export const silent: Logger = pino({ level: "silent" });

/** 2026-01-05 10:00:00 UTC. */
export const JANUARY = Date.UTC(2026, 0, 5, 10);

export const lessonTariff: Tariff = { id: "lesson", currency: "EUR", setupFee: "0.25", price: "0.10", incrementS: 60 };

export function facts(over: Partial<SessionFacts> = {}): SessionFacts {
  return {
    id: "s1",
    user: "alice",
    service: "english",
    appServer: "teacher-1",
    call: "c1",
    tariff: lessonTariff,
    ...over,
  };
}

export function aCharge(over: Partial<Charge> = {}): Charge {
  return { id: "1", item: "Riesling", unitPrice: "12.50", quantity: "2", currency: "EUR", ...over };
}

/** Start, charges at one-second intervals, and end after `durationMs`. */
export function wholeSession(
  session: SessionFacts,
  durationMs: number,
  charges: readonly Charge[] = [],
  at = JANUARY,
): ChargingEvent[] {
  return [
    sessionStarted(session, at),
    ...charges.map((charge, i) => chargeMade(session, at + (i + 1) * 1000, charge, "info")),
    sessionEnded(session, at, at + durationMs, "client"),
  ];
}

/** Numbers that look random and are the same each time (mulberry32). */
export function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** A promise and what settles it. */
export function deferred<T = void>(): {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
