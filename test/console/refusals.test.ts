import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OPERATIONS } from "../../src/operations/all.ts";
import { isInQuery, namesIn } from "../../src/operations/operation.ts";
import { ROWS, type Row } from "./answers.ts";
import { type AnswersLab, answersLab } from "./answers-world.ts";
import { ApiLab } from "./api-lab.ts";
import { checkerOf, DESCRIBED } from "./documented.ts";
import type { Answered } from "./http-lab.ts";

const refusal = (status: number, kind: string, id: string, url: string, body?: object) =>
  [id, status, kind, url, body] as const;
const unknown = (id: string, url: string, body?: object) => refusal(404, "no-such", id, url, body);
const refused = (id: string, url: string, body?: object) => refusal(409, "refused", id, url, body);
const unusable = (id: string, url: string, body?: object) => refusal(422, "input", id, url, body);

/** What operations refuse themselves. */
const REFUSALS = [
  unknown("removeSession", "/v1/sessions/none"),
  refused("drainNode", "/v1/nodes/none/drain", {}),
  unusable("liftLockOuts", "/v1/lockouts/lift", {}),
  unusable("listCalls", "/v1/calls?since=x"),
  unusable("listCalls", "/v1/calls?cursor=x"),
  unknown("showCall", "/v1/calls/none"),
  unknown("showStory", "/v1/calls/none/story"),
  refused("placeTestCall", "/v1/test-calls", { scene: "busy", item: "none" }),
  unusable("startTrace", "/v1/traces", { name: "x", hep: "nowhere" }),
  unknown("stopTrace", "/v1/traces/none/stop", {}),
  unknown("dropTrace", "/v1/traces/none"),
  unknown("exportTrace", "/v1/traces/none/export"),
  unknown("sendTrace", "/v1/traces/none/hep", { to: "127.0.0.1:9" }),
  refused("addUser", "/v1/users", { id: "paul", password: "x" }),
  unusable("addUser", "/v1/users", { id: "b@d", password: "x" }),
  unknown("removeUser", "/v1/users/none"),
  unknown("blockUser", "/v1/users/none/block", {}),
  unknown("unblockUser", "/v1/users/none/unblock", {}),
  unknown("nameUser", "/v1/users/none/name", {}),
  unknown("numberUser", "/v1/users/none/numbers", { numbers: [] }),
  unknown("qrUser", "/v1/users/none/qr", {}),
  unknown("limitUser", "/v1/users/none/limits", { sessions: "1" }),
  unusable("putService", "/v1/services/tea", { tariff: "none" }),
  unknown("removeService", "/v1/services/none"),
  refused("putAppServer", "/v1/app-servers/shop", { uri: "sip:127.0.0.1", services: ["wine"], force: true }),
  unknown("removeAppServer", "/v1/app-servers/none"),
  unknown("drainAppServer", "/v1/app-servers/none/drain", {}),
  unknown("resumeAppServer", "/v1/app-servers/none/resume", {}),
  unusable("putTariff", "/v1/tariffs/t", { currency: "EURO" }),
  unknown("removeTariff", "/v1/tariffs/none"),
  unknown("addAppServerKey", "/v1/app-servers/none/keys", {}),
  unknown("removeAppServerKey", "/v1/app-server-keys/none"),
  unknown("showBill", "/v1/bills/none"),
  unusable("showBill", "/v1/bills/alice?month=13"),
  unknown("exportBill", "/v1/bills/none/export"),
  unknown("showSettlement", "/v1/settlements/none"),
  unknown("exportSettlement", "/v1/settlements/none/export"),
  refused("closeBills", "/v1/months/2026-01/close", {}),
  unusable("correctBill", "/v1/corrections", { user: "paul", amount: "much", reason: "broken" }),
  unknown("openCredit", "/v1/credit/none/open", { currency: "EUR" }),
  refused("showCredit", "/v1/credit/none"),
  refused("topUpCredit", "/v1/credit/none/topup", { id: "p", amount: "5" }),
  refused("adjustCredit", "/v1/credit/none/adjust", { id: "p", amount: "5", reason: "x" }),
  unusable("rebillMonth", "/v1/months/13/rebill", {}),
  unusable("exportRecords", "/v1/records?month=13"),
  unknown("showUsageLetter", "/v1/usage/letters/none"),
  unknown("resendUsage", "/v1/usage/resend", { id: "none" }),
  unknown("dropUsageLetter", "/v1/usage/letters/none"),
  unusable("listRefusedCharges", "/v1/refused-charges?since=x"),
  unknown("showDeadLetter", "/v1/dead-letters/none"),
  unknown("repairDeadLetter", "/v1/dead-letters/none", { event: "{}" }),
  refused("repairDeadLetter", "/v1/dead-letters/d1", { event: "{}" }),
  unknown("replayDeadLetter", "/v1/dead-letters/none/replay", {}),
  refused("replayDeadLetter", "/v1/dead-letters/d1/replay", {}),
  unknown("dropDeadLetter", "/v1/dead-letters/none"),
  unusable("importUsers", "/v1/imports/users", { csv: "username,password\n", realm: "none" }),
  unusable("importServices", "/v1/imports/services", { csv: "id,none\ntea,x\n" }),
  unusable("importAppServers", "/v1/imports/app-servers", { csv: "id,none\ninn,x\n" }),
  unusable("importTariffs", "/v1/imports/tariffs", { csv: "id,none\nt,x\n" }),
  unknown("revokeToken", "/v1/tokens/none"),
  unusable("listAudit", "/v1/audit?since=x"),
];
/** They do it for whoever is named, and say that nothing was there. */
const TAKE_ANYBODY = ["removeRegistrations"];

let world: AnswersLab;
let viewer: string;
let appServer: string;
beforeAll(async () => {
  world = await answersLab();
  const { now } = world.lab;
  world.lab.now = Date.now(); // whether a token is good is seen by the clock
  viewer = await world.lab.token("viewer");
  appServer = await world.lab.token("app-server", { name: "of-a-shop" });
  world.lab.now = now;
});
afterAll(() => world.lab.close());

/** It is a problem (RFC 9457) as the document describes the operation's refusals. */
function expectProblem(id: string, { status, json, headers, text }: Answered, expected: number, kind: string): void {
  expect(status, text).toBe(expected);
  expect(headers["content-type"]).toBe("application/problem+json");
  expect(checkerOf(DESCRIBED.get(id)!.problem)(json), text).toBe("");
  expect(json).toMatchObject({ status, type: `urn:tollgate:problem:${kind}` });
  if (status === 401) expect(headers["www-authenticate"]).toContain("Bearer");
  if (status === 429) expect(headers["retry-after"]).toMatch(/^\d+$/);
}

describe("what an operation refuses by HTTP is the problem that the document describes (RFC 9457)", () => {
  const rows = OPERATIONS.map((operation) => {
    const row = ROWS.find(({ id }) => id === operation.id)!;
    return [operation.id, operation, row] as const;
  });
  const asked = (row: Row, method: string, more: Parameters<ApiLab["ask"]>[2] = {}) =>
    world.lab.ask(method, row.url, { token: world.token, body: row.body, ...more });

  it.each(rows)("%s: a field that it does not know", async (id, { method }, row) => {
    const field = `${row.url.includes("?") ? "&" : "?"}unnamed=1`;
    const spoilt = isInQuery(method)
      ? { ...row, url: `${row.url}${field}` }
      : { ...row, body: { ...row.body, unnamed: 1 } };
    const answer = await asked(spoilt, method);
    expectProblem(id, answer, 422, "input");
    expect(answer.json.detail).toBe("there is no field unnamed");
  });

  it.each(rows)(
    "%s: who has not signed in, or has another role; another method",
    async (id, { method, right }, row) => {
      expectProblem(id, await asked(row, method, { token: undefined }), 401, "sign-in");
      if (right !== "any") expectProblem(id, await asked(row, method, { token: appServer }), 403, "role");
      if (!["any", "see"].includes(right)) expectProblem(id, await asked(row, method, { token: viewer }), 403, "role");
      const other = await asked(row, "PATCH");
      expectProblem(id, other, 405, "method-not-allowed");
      expect(other.headers.allow).toContain(method);
    },
  );

  it.each(rows.filter(([, { method }]) => !isInQuery(method)))(
    "%s: a body that cannot be read",
    async (id, { method, bodyBytes }, row) => {
      expectProblem(id, await asked(row, method, { body: "{" }), 400, "malformed");
      expectProblem(id, await asked(row, method, { body: "[]" }), 400, "malformed");
      const headers = { "content-type": "text/plain" };
      expectProblem(id, await asked(row, method, { body: "{}", headers }), 415, "media-type");
      if (bodyBytes === undefined)
        expectProblem(id, await asked(row, method, { body: " ".repeat(65_537) }), 413, "too-large");
    },
  );

  it.each(REFUSALS)("%s: %i %s for %s", async (id, status, kind, url, body) => {
    const answer = await world.lab.ask(DESCRIBED.get(id)!.method, url, { token: world.token, body });
    expectProblem(id, answer, status, kind);
  });

  it("is asked of every operation that is about something with a name", () => {
    const known = new Set<string>([...REFUSALS.map(([id]) => id), ...TAKE_ANYBODY]);
    expect(OPERATIONS.filter(({ id, path }) => namesIn(path).length > 0 && !known.has(id)).map(({ id }) => id)).toEqual(
      [],
    );
  });

  it("also where somebody asks too much", async () => {
    const busy = await ApiLab.create({ http: { listen: "127.0.0.1:0", perSecond: 1 } });
    const answers = await Promise.all(Array.from({ length: 9 }, () => busy.ask("GET", "/v1/me")));
    expectProblem("whoAmI", answers.find(({ status }) => status !== 200)!, 429, "too-many");
    await busy.close();
  });
});
