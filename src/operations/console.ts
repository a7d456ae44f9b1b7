import { z } from "zod";
import { relayOf } from "./context.ts";
import { OperationError } from "./mistake.ts";
import { nothing, operation } from "./operation.ts";

/* What the console's page asks for, besides what all others do. */

const text = z.string();

const counts = z.record(text, z.int());

export const showChartCounts = operation({
  id: "showChartCounts",
  method: "GET",
  path: "/v1/charts/counts",
  summary: "How many calls are in each state of the charts, and how often each arrow was taken since somebody looks",
  right: "see",
  live: true,
  input: nothing,
  output: z.object({
    since: z.int(),
    charts: z.record(
      text,
      z.object({
        states: z.record(text, z.object({ now: z.int(), left: z.int(), meanMs: z.int().optional() })),
        arrows: counts,
      }),
    ),
  }),
  run: (context) => relayOf(context).chartCounts(),
});

export const placeTestCall = operation({
  id: "placeTestCall",
  method: "POST",
  path: "/v1/test-calls",
  summary: "Place a call in which the relay plays client and app server",
  right: "operate",
  live: true,
  input: z.strictObject({
    scene: z.enum(["charged", "timed", "busy", "cancelled"]),
    item: z.string().min(1).max(64).default("Riesling"),
    unitPrice: z
      .string()
      .regex(/^\d{1,6}(\.\d{1,2})?$/, "expected a price such as 12.50")
      .default("12.50"),
  }),
  output: z.object({ call: text.describe("The id of its record.") }),
  async run(context, what) {
    const { testCall } = relayOf(context);
    if (!testCall) throw new OperationError("refused", "this relay places no test calls");
    try {
      return { call: await testCall(what) };
    } catch (error) {
      throw new OperationError("refused", (error as Error).message);
    }
  },
});

export const consoleOperations = [showChartCounts, placeTestCall];
