import type { Context, Hono } from "hono";
import type { Metrics, Relay } from "../node/relay.ts";
import type { Env } from "./http.ts";

/** The paths that say whether the process works, and whether it takes new sessions. */
export const LIVE_PATH = "/livez";
export const READY_PATH = "/readyz";
/** The same as READY_PATH, for those who ask one question only. */
export const HEALTH_PATH = "/healthz";

/**
 * Routes by which Kubernetes and load balancers ask whether a node is there. Neither answer depends on NATS or MongoDB.
 * Without them sessions go on, and a restart of the node would end sessions that still work.
 */
export function addProbeRoutes(app: Hono<Env>, relay: () => Pick<Relay, "metrics"> | undefined): void {
  app.get(LIVE_PATH, (c) => said(c, 200, "alive"));
  for (const path of [READY_PATH, HEALTH_PATH])
    app.get(path, (c) => {
      const why = whyNotReady(relay()?.metrics());
      return why === undefined ? said(c, 200, "ready") : said(c, 503, why);
    });
}

/** Why the relay takes no new sessions; undefined: it takes them. */
function whyNotReady(metrics: Metrics | undefined): string | undefined {
  if (!metrics) return "starting";
  const { draining, journalFull } = metrics.gauges;
  if (draining) return "draining";
  return journalFull ? "no room on disk for the journal" : undefined;
}

const said = (c: Context<Env>, status: 200 | 503, text: string) =>
  c.body(`${text}\n`, status, { "Content-Type": "text/plain; charset=utf-8" });
