import { z } from "zod";
import { plainTextUpTo } from "../calls/record-schema.ts";
import type { CallFilter } from "../trace/filter.ts";
import type { TraceView } from "../trace/traces.ts";

const name = plainTextUpTo(512);
/** As callers have it. */
const ofCaller = z.string().max(512);

/** Which calls a trace records, as JSON. */
export const traceFilter = z.strictObject({
  user: ofCaller.optional(),
  service: ofCaller.optional(),
  callId: ofCaller.optional().describe("Of either side."),
  sample: z.int().min(1).optional().describe("One call in so many."),
}) as unknown as z.ZodType<CallFilter>;

/** A trace as it is listed, as JSON. */
export const traceView: z.ZodType<TraceView> = z.object({
  name,
  filter: traceFilter,
  since: z.int(),
  calls: z.int(),
  messages: z.int(),
  bytes: z.int(),
  running: z.boolean(),
  full: z.boolean(),
});
