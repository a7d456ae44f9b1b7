import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Hono } from "hono";
import { type PeerLog, shown } from "../support/peer-log.ts";
import { answered, type Env } from "./http.ts";
import { problem } from "./problem.ts";
import { isServed } from "./routes.ts";

/**
 * The one application behind both doors. `ROUTES` says what is served by which door, and is checked before any route.
 * Only the owner of the data folder is told the details of a fault.
 */
export function createApp(routes: (app: Hono<Env>) => void, peerLog: PeerLog): Hono<Env> {
  const app = new Hono<Env>();
  app.use(async (c, next) => {
    const { door, sources } = c.env;
    if (sources) c.set("sources", sources);
    if (isServed(c.req.path, door)) await next();
    else c.res = await c.notFound();
    if (!c.res.headers.has("Cache-Control")) c.res.headers.set("Cache-Control", "no-store");
    c.res.headers.set("X-Content-Type-Options", "nosniff");
  });
  app.get("/v1/openapi.yaml", (c) => c.body(openApi(), 200, { "Content-Type": "application/yaml" }));
  routes(app);
  app.notFound((c) => {
    const detail = c.env.door === "socket" ? `no ${c.req.method} ${c.req.path} here` : undefined;
    return answered(c, problem("not-found", detail));
  });
  app.onError((error, c) => {
    if (c.env.door === "socket") return answered(c, problem("fault", error.message));
    peerLog.error("http: a request failed by a fault of the relay", "", { err: error, path: shown(c.req.path) });
    return answered(c, problem("fault"));
  });
  return app;
}

let document: string | undefined;

/** The description of the API: ops/openapi.yaml, found from src/ or from dist/. */
function openApi(): string {
  const places = ["../../ops/openapi.yaml", "../../../ops/openapi.yaml"].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  );
  document ??= readFileSync(places.find((path) => existsSync(path)) ?? places[0]!, "utf8");
  return document;
}
