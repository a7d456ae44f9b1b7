import type { Hono } from "hono";
import { PROVISIONING_PATH } from "../directory/provisioning.ts";
import type { Env } from "./http.ts";

/**
 * Gives a softphone its settings, by the URL of its QR code. `settings`: of a token; undefined: the token is none, or
 * too old. Nothing of it is logged.
 */
export function addProvisioningRoute(app: Hono<Env>, settings: (token: string) => string | undefined): void {
  app.get(`${PROVISIONING_PATH}:token`, (c) => {
    const xml = settings(c.req.param("token"));
    c.header("Cache-Control", "no-store");
    return xml === undefined ? c.notFound() : c.body(xml, 200, { "Content-Type": "application/xml" });
  });
}
