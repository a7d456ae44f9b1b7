import type { Hono } from "hono";
import type { Metrics, Relay } from "../relay/relay.ts";
import { isLoopback } from "../support/address.ts";
import { answered, type Env, sourceOf } from "./http.ts";
import { problem } from "./problem.ts";

/** `GET /metrics` in Prometheus' text format, for this machine alone unless the operator opens it to all who can reach the address. */
export function addMetricsRoute(app: Hono<Env>, relay: Pick<Relay, "metrics">, open: "loopback" | "all" | "off"): void {
  if (open === "off") return;
  app.get("/metrics", (c) => {
    if (open === "loopback" && !isLoopback(sourceOf(c))) return answered(c, problem("not-found"));
    return c.body(metricsText(relay.metrics()), 200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" });
  });
}

/** Each as `tollgate_<name>`, in snake case; counters end with `_total`. */
export function metricsText({ counters, gauges }: Metrics): string {
  const lines: string[] = [];
  for (const [name, value] of Object.entries(counters)) {
    const full = `tollgate_${snake(name)}_total`;
    lines.push(`# TYPE ${full} counter`, `${full} ${value}`);
  }
  for (const [name, value] of Object.entries(gauges)) {
    const full = `tollgate_${snake(name)}`;
    lines.push(`# TYPE ${full} gauge`, `${full} ${value}`);
  }
  return `${lines.join("\n")}\n`;
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
