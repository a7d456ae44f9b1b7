/** How times, numbers and money are written. Times of day are those of whoever looks. */

export function time(at: number): string {
  const d = new Date(at);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function day(at: number): string {
  const d = new Date(at);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
}

export const dayAndTime = (at: number): string => (day(at) === day(Date.now()) ? time(at) : `${day(at)} ${time(at)}`);

/** `12 ms`, `3.4 s`, `2 min 5 s`, `3 h 2 min`. */
export function duration(ms: number | undefined): string {
  if (ms === undefined) return "";
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const s = Math.round(ms / 1_000);
  if (s < 3_600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
}

/** Seconds after the beginning, for a ladder: `+0.012`. */
export const after = (ms: number): string => `${ms < 0 ? "-" : "+"}${(Math.abs(ms) / 1_000).toFixed(3)}`;

export const count = (n: number): string => n.toLocaleString("en-GB");
