import { z } from "zod";
import type { Metrics } from "./metrics.ts";

/* What nodes count, as one node is told of it by another, and what all of them count together. */

const name = z.string().max(200);
const labels = z.record(name, z.string().max(512));
const counts = z.record(name, z.number());

/** What one node counts. */
export const figures = z.object({
  counters: counts,
  gauges: counts,
  labelled: z
    .object({
      counters: z.record(name, z.array(z.object({ labels, value: z.number() })).max(10_000)),
      histograms: z.record(
        name,
        z
          .array(
            z.object({
              labels,
              buckets: z.array(z.tuple([z.number(), z.int()])).max(100),
              sum: z.number(),
              count: z.int(),
            }),
          )
          .max(10_000),
      ),
    })
    .optional(),
});
export type Figures = z.output<typeof figures>;

/** Added up. What has labels stands side by side: the node is among them. */
export function added(all: readonly Pick<Metrics, "counters" | "gauges" | "labelled">[]): Figures {
  const sum: Figures = { counters: {}, gauges: {}, labelled: { counters: {}, histograms: {} } };
  for (const one of all) {
    for (const kind of ["counters", "gauges"] as const)
      for (const [id, value] of Object.entries(one[kind])) sum[kind][id] = (sum[kind][id] ?? 0) + value;
    const { counters = {}, histograms = {} } = one.labelled ?? {};
    for (const [id, samples] of Object.entries(counters))
      sum.labelled!.counters[id] = [...(sum.labelled!.counters[id] ?? []), ...(structuredClone(samples) as never[])];
    for (const [id, samples] of Object.entries(histograms))
      sum.labelled!.histograms[id] = [
        ...(sum.labelled!.histograms[id] ?? []),
        ...(structuredClone(samples) as never[]),
      ];
  }
  return sum;
}
