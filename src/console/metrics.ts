import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, Hono } from "hono";
import type { Metrics, Relay } from "../node/relay.ts";
import { answered, type Env, sourceOf } from "./http.ts";
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
