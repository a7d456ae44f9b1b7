import type { Hono } from "hono";
import { CHARGE_JSON, MAX_CHARGE_BODY_BYTES } from "../charging/charges/body.ts";
import type { ChargeDesk } from "./charge-desk.ts";
import { answered, bodyOf, type Env, sourceOf } from "./http.ts";
import { problem } from "./problem.ts";

const PATH = "/v1/charges";
const JSON_TYPES = new Set(["application/json", CHARGE_JSON]);

/** `POST /v1/charges` (M17): app servers report charges by HTTPS. ops/openapi.yaml describes it. */
export function addChargesApi(app: Hono<Env>, desk: Pick<ChargeDesk, "answer">): void {
  app.post(PATH, async (c) => {
    const type = (c.req.header("content-type") ?? "").replace(/;.*/s, "").trim().toLowerCase();
    if (!JSON_TYPES.has(type)) {
      const headers = { Accept: "application/json" }; // RFC 9110 §15.5.16
      return answered(c, problem("media-type", `the body must be application/json`, { headers }));
    }
    const encoding = c.req.header("content-encoding") ?? "identity";
    if (encoding !== "identity") {
      const headers = { "Accept-Encoding": "identity" };
      return answered(c, problem("media-type", "the body must not be encoded", { headers }));
    }
    const source = sourceOf(c);
    return answered(
      c,
      await desk.answer({
        authorization: c.req.header("authorization"),
        idempotencyKey: c.req.header("idempotency-key"),
        source: source.address,
        port: source.port,
        by: "http",
        body: () => bodyOf(c, MAX_CHARGE_BODY_BYTES),
      }),
    );
  });
  app.all(PATH, (c) => answered(c, problem("method-not-allowed", undefined, { headers: { Allow: "POST" } })));
}
