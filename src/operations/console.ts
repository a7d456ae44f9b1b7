import { z } from "zod";
import { masked } from "../trace/mask.ts";
import type { Seen } from "../trace/seen.ts";
import { labelOf } from "../trace/text.ts";
import { relayOf } from "./context.ts";
import { OperationError } from "./mistake.ts";
import { idField, nothing, operation } from "./operation.ts";

/* What the console's page asks for, besides what all others do. */

const text = z.string();

export const showStory = operation({
  id: "showStory",
  method: "GET",
  path: "/v1/calls/{id}/story",
  summary: "All that was seen of a call that runs or has ended lately: whole messages, charts, charges, timers",
  right: "see",
  personal: true,
  live: true,
  input: z.strictObject({ id: idField.describe("The id of its record.") }),
  output: z.object({
    items: z.array(z.looseObject({ kind: z.enum(["message", "state", "charge", "timer", "end"]), at: z.int() })),
    leftOut: z.int().describe("Things that gave way to later ones."),
  }),
  run(context, { id }) {
    const story = relayOf(context).watch.storyOf(id);
    if (!story)
      throw new OperationError("unknown", `nothing is kept any more of the messages of ${id}`, {
        hint: "its record still says what happened, in short",
      });
    return { items: story.items.map(itemOf), leftOut: story.leftOut };
  },
});

function itemOf(item: Seen) {
  switch (item.kind) {
    case "message": {
      const { kind, at, direction, leg, callId } = item;
      const [from, to] = direction === "in" ? [leg, "relay"] : ["relay", leg];
      const label = labelOf(item);
      return { kind, at, direction, from, to, callId, label, error: isError(label), message: masked(item.bytes) };
    }
    case "end": {
      const { kept: _, ...record } = item.record;
      return { kind: item.kind, at: item.at, record };
    }
    default:
      return item;
  }
}

/** Whether an answer says that something did not work. A challenge is none. */
const isError = (label: string): boolean => /^[3-6]\d\d /.test(label) && !/^40[17] /.test(label);

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

export const consoleOperations = [showStory, showChartCounts, placeTestCall];
