import { OperationError } from "./mistake.ts";

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration back from now, a time of day, or milliseconds since 1970. */
export function sinceOf(text: string, now: number): number {
  const [, number, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const at =
    number !== undefined
      ? now - Number(number) * UNITS[unit!]!
      : /^\d{10,16}$/.test(text)
        ? Number(text)
        : Date.parse(text);
  if (Number.isNaN(at))
    throw new OperationError(
      "usage",
      `expected 30s, 10m, 2h, 3d or a time such as 2026-01-31T12:00:00Z; found ${text}`,
      { field: "since" },
    );
  return Math.max(0, at);
}
