import { z } from "zod";
import { plainTextUpTo, wholeRecord } from "../calls/record-schema.ts";
import type { TracedCall } from "../trace/export.ts";
import { masked } from "../trace/mask.ts";
import type { Seen } from "../trace/seen.ts";

/* What a node has recorded of calls, as another node is told of it: messages as text, without their secrets. */

const name = plainTextUpTo(512);
const text = plainTextUpTo(4_096);
/** As callers have it. */
const callId = z.string().max(4_096);
const at = z.number();
const place = z.object({ transport: name, address: name, port: z.int().min(0).max(65_535) });
const item = z.discriminatedUnion("kind", [
  z.object({
    ...{ kind: z.literal("message"), at, direction: z.enum(["in", "out"]), local: place, peer: place },
    ...{ leg: name, callId, message: z.string().max(200_000) },
  }),
  z.object({
    ...{ kind: z.literal("state"), at, chart: name, actor: text, event: name, from: text, to: text },
    arrow: name.optional(),
  }),
  z.object({ kind: z.literal("charge"), at, session: name, type: name, text }),
  z.object({ kind: z.literal("timer"), at, session: name, name }),
  z.object({ kind: z.literal("end"), at, record: wholeRecord }),
]);
export const tracedCall = z.object({ id: name, items: z.array(item).max(10_000) });
export type ToldCall = z.output<typeof tracedCall>;

/** A call that was recorded here, as it is told. */
export const toldCall = ({ id, items }: TracedCall): ToldCall => ({
  id,
  items: items.map((item) => {
    if (item.kind !== "message") return item as ToldCall["items"][number];
    const { bytes, ...rest } = item;
    return { ...rest, message: masked(bytes) };
  }),
});

/** A call that was recorded at another node. */
export const heardCall = ({ id, items }: ToldCall): TracedCall => ({
  id,
  items: items.map((item) => {
    if (item.kind !== "message") return item as Seen;
    const { message, ...rest } = item;
    return { ...rest, bytes: Buffer.from(message, "latin1") };
  }),
});
