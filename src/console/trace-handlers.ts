import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";
import type { Relay } from "../node/relay.ts";
import { systemClock } from "../support/clock.ts";
import { traceHep, traceJson, tracePcap, traceText } from "../trace/export.ts";
import type { CallFilter } from "../trace/filter.ts";
import type { OwnerHandler } from "./owner-routes.ts";

const MOST_CALLS = 10_000;
const NAME = /^[A-Za-z0-9._-]{1,64}$/;

/** What `tollgate trace` asks of a running relay. */
export function traceHandlers(relay: () => Pick<Relay, "traces"> | undefined): Readonly<Record<string, OwnerHandler>> {
  const traces = () => {
    const { traces } = relay() ?? {};
    if (!traces) throw new Error("the relay is not ready yet");
    return traces;
  };
  return {
    "GET /traces": () => traces().list(),
    "POST /traces/start": (body) => {
      const { name, most, hep, ...rest } = fieldsOf(body);
      if (typeof name !== "string" || !NAME.test(name)) throw new Error("name: expected letters, digits and . _ -");
      if (typeof most !== "number" || !(most >= 1 && most <= MOST_CALLS))
        throw new Error(`most: expected a number from 1 to ${MOST_CALLS}`);
      const sender = hep === undefined ? undefined : hepSender(hep);
      const options = { name, most, filter: filterOf(rest), send: sender?.send, ended: sender?.close };
      const why = traces().start(options, systemClock.wall());
      if (why !== undefined) {
        sender?.close();
        throw new Error(why);
      }
      return traces().list();
    },
    "POST /traces/stop": (body) => {
      const { name, drop } = fieldsOf(body);
      if (!traces().stop(String(name), drop === true)) throw new Error(`there is no trace ${String(name)}`);
      return traces().list();
    },
    "POST /traces/export": (body) => {
      const { name, format, hep } = fieldsOf(body);
      const calls = traces().calls(String(name));
      if (!calls) throw new Error(`there is no trace ${String(name)}`);
      switch (format) {
        case "text":
          return { content: traceText(calls) };
        case "json":
          return { content: traceJson(calls) };
        case "pcap":
          return { base64: tracePcap(calls).toString("base64") };
        case "hep": {
          const sender = hepSender(hep);
          const packets = traceHep(calls);
          for (const packet of packets) sender.send(packet);
          sender.close();
          return { sent: packets.length };
        }
        default:
          throw new Error("format: expected text, json, pcap or hep");
      }
    },
  };
}

/** Sends packets to a Homer over UDP. Throws where `to` is no `host:port`. */
function hepSender(to: unknown): { send(packet: Buffer): void; close(): void } {
  const [, v6, host, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(String(to)) ?? [];
  const name = v6 ?? host;
  if (name === undefined || Number(port) > 65_535)
    throw new Error("hep: expected a host and port such as 10.0.0.9:9060");
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

function filterOf({ user, service, callId, sample }: Record<string, unknown>): CallFilter {
  const texts = { user, service, callId };
  for (const [name, text] of Object.entries(texts))
    if (text !== undefined && typeof text !== "string") throw new Error(`${name}: expected text`);
  if (sample !== undefined && !(typeof sample === "number" && Number.isInteger(sample) && sample >= 1))
    throw new Error("sample: expected a whole number");
  const given = Object.entries({ ...texts, sample }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as CallFilter;
}

const fieldsOf = (body: unknown): Record<string, unknown> =>
  (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
