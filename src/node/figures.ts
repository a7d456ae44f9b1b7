import { z } from "zod";
import { listUpTo, plainTextUpTo } from "../calls/record-schema.ts";
import type { Metrics } from "./metrics.ts";

/* What nodes count: as the API has it, as one node is told of it by another, and what all of them count together. */

const MOST_SAMPLES = 10_000;
const MOST_BUCKETS = 100;

const name = plainTextUpTo(200);
const labels = z.record(name, plainTextUpTo(512));
const samplesOf = <T extends z.ZodType>(of: T) => z.record(name, listUpTo(MOST_SAMPLES, of));
const buckets = listUpTo(MOST_BUCKETS, z.tuple([z.number(), z.int()]));

export const counts = z.record(name, z.number());
export const labelled = z.object({
  counters: samplesOf(z.object({ labels, value: z.number() })),
  histograms: samplesOf(
    z.object({
      labels,
      buckets: buckets.describe("How many were not above each bound, in order."),
      sum: z.number(),
      count: z.int(),
    }),
  ),
});

export type Figures = Pick<Metrics, "counters" | "gauges" | "labelled">;
/** What one node counts. */
export const figures = z.object({
  counters: counts,
  gauges: counts,
  labelled: labelled.optional(),
}) as unknown as z.ZodType<Figures>;

/** Added up. What has labels stands side by side: the node is among them. */
export function added(all: readonly Figures[]): Figures {
  const plus = (a: number, b: number) => a + b;
  return {
    counters: joined(
      all.map(({ counters }) => counters),
      plus,
    ),
    gauges: joined(
      all.map(({ gauges }) => gauges),
      plus,
    ),
    labelled: {
      counters: joined(
        all.map(({ labelled }) => labelled?.counters ?? {}),
        (a, b) => [...a, ...b],
      ),
      histograms: joined(
        all.map(({ labelled }) => labelled?.histograms ?? {}),
        (a, b) => [...a, ...b],
      ),
    },
  };
}

/** What stands under the same name is made one. */
function joined<T>(all: readonly Readonly<Record<string, T>>[], join: (a: T, b: T) => T): Record<string, T> {
  const found = new Map<string, T>();
  for (const one of all)
    for (const [id, value] of Object.entries(one)) {
      const before = found.get(id);
      found.set(id, before === undefined ? value : join(before, value));
    }
  return Object.fromEntries(found);
}
