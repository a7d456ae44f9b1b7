import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, Hono } from "hono";
import type { Metrics } from "../node/metrics.ts";
import type { Relay } from "../node/relay.ts";
import { version } from "../support/version.ts";
import { answered, type Env, sourceOf } from "./http.ts";
import { HELP } from "./metric-help.ts";
import { problem } from "./problem.ts";

/**
 * `GET /metrics` in Prometheus' text format: The owner of the data folder reads it by the socket. By TCP only this
 * machine may read it, unless the operator opens it to all who can reach the address. A reader with the token, if
 * there is one, may read it from anywhere.
 */
export function addMetricsRoute(
  app: Hono<Env>,
  relay: Pick<Relay, "metrics">,
  open: "loopback" | "all" | "off",
  token?: string,
): void {
  app.get("/metrics", (c) => {
    const byTcp = open !== "off" && (open === "all" || sourceOf(c).isLocal || hasToken(c, token));
    const mayRead = c.env.door === "socket" || byTcp;
    if (!mayRead) return answered(c, problem("not-found"));
    return c.body(metricsText(relay.metrics()), 200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" });
  });
}

/** RFC 6750 §2.1, as Prometheus sends it with its setting `authorization`. */
function hasToken(c: Context<Env>, token: string | undefined): boolean {
  const given = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
  if (token === undefined || given === undefined) return false;
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}

/**
 * Each as `tollgate_<name>`, in snake case, with its HELP; counters end with `_total`. Also the version, and the node's
 * name, as `tollgate_build_info`.
 */
export function metricsText({ counters, gauges, labelled, node = "" }: Metrics): string {
  const lines: string[] = [];
  const begin = (name: string, type: string) => {
    const help = HELP[name];
    if (help !== undefined) lines.push(`# HELP ${name} ${help}`);
    lines.push(`# TYPE ${name} ${type}`);
    return name;
  };
  for (const [name, value] of Object.entries(counters))
    lines.push(`${begin(`tollgate_${snake(name)}_total`, "counter")} ${value}`);
  for (const [name, value] of Object.entries(gauges))
    lines.push(`${begin(`tollgate_${snake(name)}`, "gauge")} ${value}`);
  for (const [name, samples] of Object.entries(labelled?.counters ?? {})) {
    const full = begin(`tollgate_${snake(name)}_total`, "counter");
    for (const { labels, value } of samples) lines.push(`${full}${inBraces(labels)} ${value}`);
  }
  for (const [name, samples] of Object.entries(labelled?.histograms ?? {})) {
    const full = begin(`tollgate_${snake(name)}`, "histogram");
    for (const { labels, buckets, sum, count } of samples) {
      for (const [le, below] of buckets)
        lines.push(`${full}_bucket${inBraces({ ...labels, le: String(le) })} ${below}`);
      lines.push(`${full}_bucket${inBraces({ ...labels, le: "+Inf" })} ${count}`);
      lines.push(`${full}_sum${inBraces(labels)} ${sum}`, `${full}_count${inBraces(labels)} ${count}`);
    }
  }
  lines.push(`${begin("tollgate_build_info", "gauge")}${inBraces({ version: version(), node })} 1`);
  return `${lines.join("\n")}\n`;
}

function inBraces(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return `{${pairs.join(",")}}`;
}

/** Label values come from ids, which have none of these; and from the node's name. */
const escaped = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
