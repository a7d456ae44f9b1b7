import { z } from "zod";
import { traceView } from "../node/trace-view.ts";
import { traceHep, traceJson, tracePcap, traceText } from "../trace/export.ts";
import { type Homer, hepSender, homerIn, NO_HOMER } from "../trace/hep-sender.ts";
import type { TraceView } from "../trace/traces.ts";
import { type OperationContext, relayOf } from "./context.ts";
import { missingNodes, missingOf, silentText } from "./missing.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, idField, nothing, operation } from "./operation.ts";

const MOST_CALLS = 10_000;

const nameField = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, "expected letters, digits and . _ -");
const hepField = z.string().max(300).describe("Host and port of a Homer, such as 10.0.0.9:9060.");
const filterFields = {
  user: idField.optional(),
  service: idField.optional(),
  callId: z.string().min(1).max(512).optional().describe("Of either side."),
  sample: z.int().min(1).optional().describe("One call in so many."),
};
const traces = z.object({ traces: z.array(traceView), missing: missingNodes });

/** `missing`: nodes that did not do what was asked. */
async function listOf(
  context: OperationContext,
  missing: readonly string[] = [],
): Promise<{ traces: readonly TraceView[]; missing?: readonly string[] }> {
  const found = await relayOf(context).traces.list();
  return { traces: found.traces, ...missingOf([...new Set([...missing, ...found.missing])].sort()) };
}

export const listTraces = operation({
  id: "listTraces",
  method: "GET",
  path: "/v1/traces",
  summary: "Recordings of chosen calls",
  right: "see",
  live: true,
  input: nothing,
  output: traces,
  run: (context) => listOf(context),
});

export const startTrace = operation({
  id: "startTrace",
  method: "POST",
  path: "/v1/traces",
  summary: "Record the calls that fit, from their first message on",
  right: "operate",
  live: true,
  input: z.strictObject({
    name: nameField,
    ...filterFields,
    most: z.int().min(1).max(MOST_CALLS).default(100).describe("So many calls."),
    hep: hepField.optional(),
  }),
  output: traces,
  async run(context, { name, most, hep, ...rest }) {
    const filter = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
    if (hep !== undefined) theHomer(hep, "hep");
    const { why, missing } = await relayOf(context).traces.start({ name, most, filter, hep });
    if (why !== undefined) throw new OperationError("refused", why);
    return listOf(context, missing);
  },
});

function theHomer(text: string, field: string): Homer {
  const homer = homerIn(text);
  if (!homer) throw new OperationError("usage", NO_HOMER, { field });
  return homer;
}

const noTrace = (name: string, missing: readonly string[]) =>
  new OperationError("unknown", `there is no trace ${name}${missing.length > 0 ? `; ${silentText(missing)}` : ""}`, {
    hint: "see: tollgate trace list",
  });

async function stop(context: OperationContext, name: string, drop: boolean) {
  const { was, missing } = await relayOf(context).traces.stop(name, drop);
  if (!was) throw noTrace(name, missing);
  return listOf(context, missing);
}

async function recordedOf(context: OperationContext, name: string) {
  const { calls, missing } = await relayOf(context).traces.calls(name);
  if (!calls) throw noTrace(name, missing);
  return { calls, missing };
}

export const stopTrace = operation({
  id: "stopTrace",
  method: "POST",
  path: "/v1/traces/{name}/stop",
  summary: "Record nothing more; what was recorded stays",
  right: "operate",
  live: true,
  input: z.strictObject({ name: nameField }),
  output: traces,
  run: (context, { name }) => stop(context, name, false),
});

export const dropTrace = operation({
  id: "dropTrace",
  method: "DELETE",
  path: "/v1/traces/{name}",
  summary: "Record nothing more, and forget what was recorded",
  right: "operate",
  live: true,
  input: z.strictObject({ name: nameField }),
  output: traces,
  run: (context, { name }) => stop(context, name, true),
});

export const exportTrace = operation({
  id: "exportTrace",
  method: "GET",
  path: "/v1/traces/{name}/export",
  summary: "What was recorded, as a file; secrets are left out",
  right: "operate",
  personal: true,
  live: true,
  file: true,
  input: z.strictObject({ name: nameField, format: z.enum(["text", "json", "pcap"]).default("text") }),
  output: z.string(),
  async run(context, { name, format }) {
    const { calls } = await recordedOf(context, name);
    switch (format) {
      case "text":
        return { type: "text/plain; charset=utf-8", name: `${name}.txt`, content: traceText(calls) };
      case "json":
        return { type: "application/json", name: `${name}.json`, content: traceJson(calls) };
      case "pcap":
        return { type: "application/vnd.tcpdump.pcap", name: `${name}.pcap`, content: tracePcap(calls) };
    }
  },
});

export const sendTrace = operation({
  id: "sendTrace",
  method: "POST",
  path: "/v1/traces/{name}/hep",
  summary: "Send what was recorded to a Homer, as HEP3 over UDP",
  right: "operate",
  personal: true,
  live: true,
  input: z.strictObject({ name: nameField, to: hepField }),
  output: z.object({ sent: z.int(), missing: missingNodes }),
  async run(context, { name, to }): Promise<{ sent: number; missing?: readonly string[] }> {
    const homer = theHomer(to, "to");
    const { calls, missing } = await recordedOf(context, name);
    const packets = traceHep(calls);
    const sender = hepSender(homer);
    for (const packet of packets) sender.send(packet);
    sender.close();
    return { sent: packets.length, ...missingOf(missing) };
  },
});

export const traceOperations: readonly AnyOperation[] = [
  listTraces,
  startTrace,
  stopTrace,
  dropTrace,
  exportTrace,
  sendTrace,
];
