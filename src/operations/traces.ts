import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";
import { z } from "zod";
import { traceHep, traceJson, tracePcap, traceText } from "../trace/export.ts";
import { type OperationContext, relayOf } from "./context.ts";
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
const traces = z.object({
  traces: z.array(
    z.object({
      name: z.string(),
      filter: z.object(filterFields),
      since: z.int(),
      calls: z.int(),
      messages: z.int(),
      bytes: z.int(),
      running: z.boolean(),
      full: z.boolean(),
    }),
  ),
});

const listOf = (context: OperationContext) => ({ traces: relayOf(context).traces.list() });

export const listTraces = operation({
  id: "listTraces",
  method: "GET",
  path: "/v1/traces",
  summary: "Recordings of chosen calls",
  right: "see",
  live: true,
  input: nothing,
  output: traces,
  run: listOf,
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
  run(context, { name, most, hep, ...rest }) {
    const filter = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
    const sender = hep === undefined ? undefined : hepSender(hep);
    const options = { name, most, filter, send: sender?.send, ended: sender?.close };
    const why = relayOf(context).traces.start(options, context.now());
    if (why === undefined) return listOf(context);
    sender?.close();
    throw new OperationError("refused", why);
  },
});

const noTrace = (name: string) =>
  new OperationError("unknown", `there is no trace ${name}`, { hint: "see: tollgate trace list" });

export const stopTrace = operation({
  id: "stopTrace",
  method: "POST",
  path: "/v1/traces/{name}/stop",
  summary: "Record nothing more; what was recorded stays",
  right: "operate",
  live: true,
  input: z.strictObject({ name: nameField }),
  output: traces,
  run(context, { name }) {
    if (!relayOf(context).traces.stop(name, false)) throw noTrace(name);
    return listOf(context);
  },
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
  run(context, { name }) {
    if (!relayOf(context).traces.stop(name, true)) throw noTrace(name);
    return listOf(context);
  },
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
  run(context, { name, format }) {
    const calls = relayOf(context).traces.calls(name);
    if (!calls) throw noTrace(name);
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
  output: z.object({ sent: z.int() }),
  run(context, { name, to }) {
    const calls = relayOf(context).traces.calls(name);
    if (!calls) throw noTrace(name);
    const sender = hepSender(to);
    const packets = traceHep(calls);
    for (const packet of packets) sender.send(packet);
    sender.close();
    return { sent: packets.length };
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

/** Sends packets to a Homer over UDP. Throws where `to` is no `host:port`. */
function hepSender(to: string): { send(packet: Buffer): void; close(): void } {
  const [, v6, host, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(to) ?? [];
  const name = v6 ?? host;
  if (name === undefined || Number(port) > 65_535)
    throw new OperationError("usage", "expected a host and port such as 10.0.0.9:9060", { field: "hep" });
  const socket = createSocket(isIPv6(name) ? "udp6" : "udp4");
  socket.on("error", () => {}); // nobody may be there
  socket.unref();
  let underWay = 0;
  let over = false;
  const closeIfDone = () => {
    if (over && underWay === 0) socket.close();
  };
  return {
    send: (packet) => {
      if (over) return;
      underWay++;
      socket.send(packet, Number(port), name, () => {
        underWay--;
        closeIfDone();
      });
    },
    close: () => {
      if (over) return;
      over = true;
      closeIfDone();
    },
  };
}
