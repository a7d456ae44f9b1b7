import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { call, pageOf } from "../contract/calls.contract.ts";
import { ApiLab, everywhereOf } from "./api-lab.ts";

let lab: ApiLab;
let operator: string;
beforeEach(async () => {
  lab = await ApiLab.create();
  operator = await lab.token("operator");
});
afterEach(() => lab.close());

const asked = (method: string, path: string, body?: unknown) => lab.ask(method, path, { token: operator, body });
const audit = async () => (await asked("GET", "/v1/audit?most=50")).json.entries as Record<string, unknown>[];

describe("what an operator does by HTTP", () => {
  it("registers a user, whose password is in no answer, no list and not in the audit log", async () => {
    const password = "correct horse battery";
    const added = await asked("POST", "/v1/users", { id: "alice", password, prepaid: "EUR", balance: "20.00" });
    expect(added).toMatchObject({ status: 200, json: { replaced: false, user: { id: "alice", prepaid: "EUR" } } });
    expect((await asked("POST", "/v1/users", { id: "alice", password })).status).toBe(409);
    const list = await asked("GET", "/v1/users");
    expect(list.json.users).toMatchObject([{ id: "alice", algorithms: ["sha-256", "md5"], blocked: false }]);
    const hash = (await lab.store.users.get("alice"))!.ha1.sha256!;
    for (const text of [added.text, list.text, JSON.stringify(await audit())]) {
      expect(text).not.toContain(password);
      expect(text).not.toContain(hash);
    }
  });

  it("blocks, limits, and removes a user", async () => {
    await asked("POST", "/v1/users", { id: "alice", password: "x" });
    expect((await asked("POST", "/v1/users/alice/block", { end: true })).json.user.blocked).toBe(true);
    expect((await lab.store.users.get("alice"))!.blocked).toEqual({ since: lab.now, end: true });
    expect((await asked("POST", "/v1/users/alice/unblock")).json.user.blocked).toBe(false);
    const limited = await asked("PUT", "/v1/users/alice/limits", { sessions: "2", credit: "10", currency: "EUR" });
    expect(limited.json.limits).toBe("2 sessions at once, may owe 10.00 EUR");
    expect((await asked("PUT", "/v1/users/alice/limits", { sessions: "many" })).status).toBe(422);
    expect((await asked("DELETE", "/v1/users/alice")).json).toMatchObject({ removed: true });
    expect((await asked("DELETE", "/v1/users/alice")).status).toBe(404);
  });

  it("blocks a user for whom others set limits and a name at the same time, and nothing of that is lost", async () => {
    await asked("POST", "/v1/users", { id: "alice", password: "x" });
    const changes = [
      asked("PUT", "/v1/users/alice/limits", { sessions: "2" }),
      asked("POST", "/v1/users/alice/block", {}),
      asked("PUT", "/v1/users/alice/name", { name: "Alice Example" }),
      asked("POST", "/v1/users", { id: "alice", password: "y", replace: true }),
    ];
    for (const { status } of await Promise.all(changes)) expect(status).toBe(200);
    expect(await lab.store.users.get("alice")).toMatchObject({
      blocked: { since: lab.now },
      limits: { sessions: 2 },
      name: "Alice Example",
    });
  });

  it("registers services and what they need, and is told of what is not there or in use", async () => {
    expect((await asked("PUT", "/v1/services/wine", { tariff: "lesson" })).json.detail).toContain("no tariff lesson");
    expect((await asked("PUT", "/v1/tariffs/lesson", { currency: "EUR", price: "0.50" })).status).toBe(200);
    expect((await asked("PUT", "/v1/services/wine", { tariff: "lesson" })).json).toEqual({
      id: "wine",
      replaced: false,
    });
    expect((await asked("PUT", "/v1/services/wine", { tariff: "lesson" })).status).toBe(409);
    expect((await asked("PUT", "/v1/services/wine", { title: "Wine", replace: true, tariff: "lesson" })).status).toBe(
      200,
    );
    expect((await asked("DELETE", "/v1/tariffs/lesson")).status).toBe(409);
    expect((await asked("DELETE", "/v1/tariffs/lesson?force=true")).status).toBe(200);
    expect((await asked("PUT", "/v1/services/wine", { color: "red" })).status).toBe(422);
    expect((await asked("GET", "/v1/services")).json.services).toMatchObject([
      { id: "wine", title: "Wine", from: "store" },
    ]);
  });

  it.each(["constructor", "toString", "__proto__"])("is told that there is no field %s", async (name) => {
    const answers = [await asked("GET", `/v1/users?${name}=1`), await asked("GET", `/v1/calls?${name}=1`)];
    expect(answers.map(({ status }) => status)).toEqual([422, 422]);
  });

  it("takes an app server out of service, and puts it into service again", async () => {
    await lab.store.appServers.put({ id: "shop", uri: "sip:127.0.0.1:5070", services: [] });
    expect((await asked("POST", "/v1/app-servers/shop/drain")).json).toEqual({ id: "shop", state: "drained" });
    expect((await asked("GET", "/v1/app-servers")).json.appServers).toMatchObject([{ id: "shop", state: "drained" }]);
    expect((await asked("POST", "/v1/app-servers/shop/resume")).status).toBe(200);
    expect(await lab.store.outOfService.list()).toEqual([]);
    expect((await asked("POST", "/v1/app-servers/nobody/drain")).status).toBe(404);
  });

  it("pays in once for each id, and corrects a bill", async () => {
    await asked("POST", "/v1/users", { id: "alice", password: "x", prepaid: "EUR" });
    const once = await asked("POST", "/v1/credit/alice/topup", { id: "p-1", amount: "20" });
    expect(once.json).toEqual({ user: "alice", balance: "20.00", currency: "EUR", repeated: false });
    expect((await asked("POST", "/v1/credit/alice/topup", { id: "p-1", amount: "20" })).json.repeated).toBe(true);
    expect((await asked("POST", "/v1/credit/alice/topup", { id: "p-1", amount: "21" })).status).toBe(409);
    expect((await asked("POST", "/v1/credit/alice/topup", { id: "p-2", amount: "-1" })).status).toBe(422);
    const correction = { user: "alice", amount: "-5", currency: "EUR", reason: "broken", id: "t-1" };
    expect((await asked("POST", "/v1/corrections", correction)).json).toMatchObject({
      ...{ amount: "-5.00", currency: "EUR", isNew: true, intoBalance: "5.00" },
    });
    expect((await asked("GET", "/v1/credit/alice")).json).toMatchObject({ balance: "25.00", left: 0 });
    expect((await asked("GET", "/v1/bills/alice")).json.totals).toMatchObject([{ currency: "EUR", due: "-5.00" }]);
    const csv = await asked("GET", "/v1/bills/alice/export?format=csv");
    expect(csv.headers["content-type"]).toBe("text/csv; charset=utf-8");
    expect(csv.headers["content-disposition"]).toBe('attachment; filename="bill-2026-01.csv"');
    expect(csv.text).toContain("broken");
  });

  it("ends a session, and is told where there is none", async () => {
    expect((await asked("DELETE", "/v1/sessions/s1")).json).toEqual({ id: "s1", ended: true });
    expect((await asked("DELETE", "/v1/sessions/s2")).status).toBe(404);
  });

  it("lists and sends again usage of one endpoint, however much of others was put aside before it", async () => {
    const letter = { at: lab.now, reason: "status 400", event: "{}" };
    for (let n = 0; n < 60; n++) await lab.store.usage.put({ ...letter, id: `early:${n}`, sink: "early" });
    await lab.store.usage.put({ ...letter, id: "late:1", sink: "late" });
    const { json } = await asked("GET", "/v1/usage/letters?sink=late&most=10");
    expect(json).toEqual({ letters: [{ ...letter, id: "late:1", sink: "late" }] });
    const { json: sent } = await asked("POST", "/v1/usage/resend", { sink: "late" });
    expect(sent).toEqual({ sent: 0, left: [{ id: "late:1", why: expect.stringContaining("no sink late") }] });
  });

  it("revokes a token; no token makes another one", async () => {
    expect((await asked("POST", "/v1/tokens", { name: "more", role: "operator" })).status).toBe(405);
    expect((await asked("GET", "/v1/tokens")).json.tokens).toMatchObject([{ name: "a-operator", role: "operator" }]);
    expect((await asked("GET", "/v1/tokens")).text).not.toContain("hash");
    expect((await asked("DELETE", "/v1/tokens/a-operator")).status).toBe(200);
    expect(await lab.store.tokens.list()).toEqual([]);
  });
});

describe("the audit log", () => {
  it("has every change, done or refused: who, from where, what, and what became of it", async () => {
    await asked("PUT", "/v1/services/wine", {});
    await asked("PUT", "/v1/services/wine", {});
    await asked("DELETE", "/v1/sessions/s2");
    const who = { who: "a-operator", role: "operator", from: "127.0.0.1", kind: "change", at: lab.now };
    expect((await audit()).reverse()).toEqual([
      { ...who, id: expect.any(String), what: "putService", of: { id: "wine" }, outcome: "done" },
      {
        ...who,
        id: expect.any(String),
        what: "putService",
        of: { id: "wine" },
        outcome: "service wine is registered already",
      },
      {
        ...who,
        id: expect.any(String),
        what: "removeSession",
        of: { id: "s2" },
        outcome: "there is no session s2",
      },
    ]);
  });

  it("has every reading of what is said about people, once in 10 minutes for each reader and question", async () => {
    await lab.store.calls.add(pageOf([call(1)]));
    for (let i = 0; i < 3; i++) await asked("GET", "/v1/calls?user=alice");
    await asked("GET", "/v1/calls?user=bob");
    await lab.ask("GET", "/v1/calls?user=alice");
    await asked("GET", "/v1/machines");
    expect((await audit()).map(({ who, what, of }) => [who, what, of])).toEqual([
      ["loopback", "listCalls", { user: "alice" }],
      ["a-operator", "listCalls", { user: "bob" }],
      ["a-operator", "listCalls", { user: "alice" }],
    ]);
  });

  it("is read page by page, the newest first", async () => {
    for (let i = 0; i < 5; i++) {
      lab.now += 1_000;
      await asked("PUT", `/v1/services/s${i}`, {});
    }
    const first = (await asked("GET", "/v1/audit?most=2")).json;
    expect(first.entries.map(({ of }: { of: { id: string } }) => of.id)).toEqual(["s4", "s3"]);
    const second = (await asked("GET", `/v1/audit?most=2&cursor=${first.next}`)).json;
    expect(second.entries.map(({ of }: { of: { id: string } }) => of.id)).toEqual(["s2", "s1"]);
    expect((await asked("GET", `/v1/audit?since=${lab.now - 1_000}`)).json.entries).toHaveLength(2);
  });
});

describe("calls by HTTP", () => {
  it("come page by page, the newest first, and every one once", async () => {
    for (let n = 0; n < 10; n++) await lab.store.calls.add(pageOf([call(2 * n), call(2 * n + 1)]));
    const { findCalls } = await import("../../src/calls/find.ts");
    const everywhere = everywhereOf({ calls: (query) => findCalls(lab.store.calls, [], query) });
    (lab.context.relay as { everywhere: unknown }).everywhere = everywhere;
    const ids: string[] = [];
    for (let cursor = ""; ; ) {
      const { json } = await asked("GET", `/v1/calls?most=7${cursor}`);
      ids.push(...json.calls.map(({ id }: { id: string }) => id));
      if (json.next === undefined) break;
      cursor = `&cursor=${encodeURIComponent(json.next)}`;
    }
    expect(ids).toEqual(Array.from({ length: 20 }, (_, n) => `record${String(19 - n).padStart(4, "0")}`));
    expect((await asked("GET", "/v1/calls?cursor=nonsense")).status).toBe(422);
    expect((await asked("GET", "/v1/calls?since=yesterday")).status).toBe(422);
    expect((await asked("GET", "/v1/calls?most=0")).status).toBe(422);
    const { json } = await asked("GET", "/v1/calls/record0007");
    expect(json.calls).toMatchObject([{ id: "record0007", failed: false, path: [], charges: [] }]);
    expect(json.calls[0].ladder[0]).toMatchObject({ from: "client", to: "relay", error: false });
  });
});
