import type { Hono } from "hono";
import { answered, bodyOf, type Env } from "./http.ts";
import { problem } from "./problem.ts";

/** Answers one request; what it returns is sent as JSON. `body` is the request's JSON body, parsed, or undefined. */
export type OwnerHandler = (body: unknown) => unknown | Promise<unknown>;

const MAX_BODY_BYTES = 65_536;

/** The requests of the operator's commands, by method and path: `"GET /sessions"`, `"POST /drain"`. */
export function addOwnerRoutes(app: Hono<Env>, handlers: Readonly<Record<string, OwnerHandler>>): void {
  for (const [name, handler] of Object.entries(handlers)) {
    const [method, path] = name.split(" ") as [string, string];
    app.on(method, path, async (c) => {
      const body = await bodyOf(c, MAX_BODY_BYTES);
      if (body === undefined) return answered(c, problem("too-large", "the body is too large"));
      const said = readJson(body);
      if (said === NOT_JSON) return answered(c, problem("malformed", "the body is not JSON"));
      return c.json((await handler(said)) ?? null);
    });
  }
}

const NOT_JSON = Symbol("not JSON");

function readJson(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString("utf8"));
  } catch {
    return NOT_JSON;
  }
}
