import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { Acted, Action } from "../../src/app-servers/app-servers.ts";
import { configSchema } from "../../src/config/schema.ts";
import type { HttpServer } from "../../src/console/http.ts";
import { bearerToken, newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { systemRandom } from "../../src/support/random.ts";
import { keptLog } from "../support/lines.ts";
import { ask } from "./http-lab.ts";
import { serveApi } from "./serve-api.ts";

/*
 * `POST /v1/sessions/{id}/end`, `/change` and `/move`: for app servers with a key. Answers are held against
 * ops/openapi.yaml.
 */

const key = newAppServerKey({ appServer: "shop", portalRealm: "localhost", md5: false, now: 0, random: systemRandom });
const AUTH = `Bearer ${bearerToken(key.key.id, key.secret)}`;
const description = parse(readFileSync(new URL("../../ops/openapi.yaml", import.meta.url), "utf8"));
const ajv = new Ajv2020({ strict: false, allErrors: true }).addSchema(description, "api");

let api: HttpServer;
let acts: [appServer: string, session: string, action: Action][];
let acted: Acted;

beforeEach(async () => {
  acts = [];
  acted = { kind: "done", session: "s1" };
  const config = configSchema.parse({ http: { listen: "127.0.0.1:1" }, portal: { domain: "portal.example" } });
  const relay = {
    charging: { direct: {} as never, appServerKey: (id: string) => (id === key.key.id ? key.key : undefined) },
    identity: undefined,
    metrics: () => ({ counters: {}, gauges: {} }),
    act: async (...asked: (typeof acts)[number]) => {
      acts.push(asked);
      return acted;
    },
  };
  api = await serveApi({ config, listen: { address: "127.0.0.1", port: 0 }, relay, log: keptLog().log });
});
afterEach(() => api.close());

async function post(path: string, body: unknown, auth: string | undefined = AUTH) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await ask({ port: api.port }, "POST", path, auth === undefined ? {} : { Authorization: auth }, text);
  const schema = answer.status === 200 ? "Acted" : "Problem";
  const validate = ajv.getSchema(`api#/components/schemas/${schema}`)!;
  if (answer.json) expect(validate(answer.json), JSON.stringify(validate.errors)).toBe(true);
  return answer;
}

const CHARGE = { id: "1", item: "Corkage", unitPrice: "4.00", currency: "EUR" };

describe("an app server that speaks HTTP", () => {
  it("ends, changes and moves its session", async () => {
    expect((await post("/v1/sessions/s1/end", "")).json).toEqual({ session: "s1" });
    await post("/v1/sessions/s1/end", { charges: [CHARGE] });
    acted = { kind: "done", session: "s2", service: "beer" };
    expect((await post("/v1/sessions/s1/change", { service: "beer" })).json).toEqual({
      session: "s2",
      service: "beer",
    });
    await post("/v1/sessions/s1/change", { description: { contentType: "application/json", content: "{}" } });
    await post("/v1/sessions/s1/move", { to: "beer", keep: true });
    await post("/v1/sessions/s1/move", { to: "sip:beer@other.example" });
    expect(acts.map(([appServer, session]) => [appServer, session])).toEqual(Array(6).fill(["shop", "s1"]));
    expect(acts.map(([, , action]) => action)).toEqual([
      { kind: "end", charges: [] },
      { kind: "end", charges: [{ ...CHARGE, quantity: "1" }] },
      {
        kind: "change",
        wanted: { contentType: "application/vnd.tollgate.service+xml", content: '<service name="beer"/>' },
      },
      { kind: "change", wanted: { contentType: "application/json", content: "{}" } },
      { kind: "move", to: "sip:beer@portal.example", keep: true },
      { kind: "move", to: "sip:beer@other.example" },
    ]);
  });

  it.each<[Acted, number, string]>([
    [{ kind: "unknown" }, 404, "unknown"],
    [{ kind: "speaks SIP" }, 409, "speaks-sip"],
    [{ kind: "refused", status: 488, reason: "Not Acceptable Here" }, 409, "session-refused"],
    [{ kind: "refused", status: 603, reason: "Decline" }, 409, "session-refused"],
    [{ kind: "refused", status: 481, reason: "No Session" }, 404, "unknown"],
    [{ kind: "refused", status: 503, reason: "Not Now" }, 503, "session-failed"],
  ])("hears what became of it: %j is %i", async (outcome, status, kind) => {
    acted = outcome;
    const answer = await post("/v1/sessions/s1/change", { service: "beer" });
    expect([answer.status, answer.json.type]).toEqual([status, `urn:tollgate:problem:${kind}`]);
    if (outcome.kind === "refused") expect(answer.json.sip).toEqual({ status: outcome.status, reason: outcome.reason });
  });

  it.each([
    ["end", "[]", 400],
    ["end", "{", 400],
    ["end", { charges: [{ item: "x" }] }, 422],
    ["change", {}, 400],
    ["change", { service: '"/><x' }, 400],
    ["change", { description: { contentType: "a\r\nVia: x", content: "" } }, 400],
    ["move", {}, 400],
    ["move", { to: "sip:a@b> , <sip:c@d" }, 400],
    ["move", { to: "https://beer.example" }, 400],
    ["move", { to: "beer", keep: "yes" }, 400],
    ["end", "x".repeat(70_000), 413],
  ])("cannot say %s with %j", async (kind, body, status) => {
    expect((await post(`/v1/sessions/s1/${kind}`, body)).status).toBe(status);
    expect(acts).toEqual([]);
  });

  it("needs its key, and there are no other paths", async () => {
    for (const auth of [undefined, `Bearer ${key.key.id}.wrong`, "Bearer nobody.knows"])
      for (const kind of ["change", "move", "end"]) {
        const headers = auth === undefined ? {} : { Authorization: auth };
        const answer = await ask({ port: api.port }, "POST", `/v1/sessions/s1/${kind}`, headers, "{}");
        expect(answer.status).toBe(401);
        expect(answer.headers["www-authenticate"]).toContain("Bearer");
      }
    expect((await post("/v1/sessions/s1/other", {})).status).toBe(404);
    expect((await post("/v1/sessions/s1/end/more", {})).status).toBe(404);
    expect((await ask({ port: api.port }, "GET", "/v1/sessions/s1/end")).status).toBe(405);
    expect(acts).toEqual([]);
  });
});
