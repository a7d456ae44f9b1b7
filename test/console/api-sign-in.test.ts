import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ApiLab } from "./api-lab.ts";

let lab: ApiLab;
beforeEach(async () => {
  lab = await ApiLab.create();
});
afterEach(() => lab.close());

describe("whoever asks by HTTP", () => {
  it("signs in by a token, of which the store has the hash alone", async () => {
    const token = await lab.token("biller");
    expect(token).toMatch(/^a-biller\.[0-9a-f]{64}$/);
    expect((await lab.ask("GET", "/v1/me", { token })).json).toMatchObject({
      name: "a-biller",
      role: "biller",
      rights: ["see", "see-money", "bill"],
    });
    expect(JSON.stringify(await lab.store.tokens.list())).not.toContain(token.split(".")[1]);
  });

  it("is refused with a token that is wrong, of nobody, over, or no token at all (RFC 6750 §3)", async () => {
    const token = await lab.token("operator", { expiresDays: 1 });
    lab.tokens.set("a-operator", { ...lab.tokens.get("a-operator")!, expiresAt: Date.now() - 1 });
    await lab.token("viewer");
    for (const given of [token, `a-viewer.${token.split(".")[1]}`, "nobody.00", "a-viewer", `.${token}`, "%"]) {
      const { status, headers } = await lab.ask("GET", "/v1/me", { token: given });
      expect(status, given).toBe(401);
      expect(headers["www-authenticate"]).toBe('Bearer realm="tollgate"');
    }
    const basic = { authorization: `Basic ${Buffer.from("a:b").toString("base64")}` };
    expect((await lab.ask("GET", "/v1/me", { headers: basic })).status).toBe(401);
  });

  it("has to wait after many failures, and whoever has a good token does not", async () => {
    const token = await lab.token("viewer");
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => lab.ask("GET", "/v1/me", { token: "a-viewer.00" })),
    );
    expect(answers.filter(({ status }) => status === 429).length).toBeGreaterThan(0);
    expect(answers.every(({ status }) => status === 429 || status === 401)).toBe(true);
    expect((await lab.ask("GET", "/v1/me", { token })).status).toBe(200);
  });

  it("needs no token to look from this machine, by a name that is this machine's (DNS rebinding)", async () => {
    expect((await lab.ask("GET", "/v1/me")).json).toMatchObject({ role: "loopback", rights: ["see", "see-money"] });
    for (const host of ["localhost", `127.0.0.1:${lab.port}`, "[::1]"])
      expect((await lab.ask("GET", "/v1/sessions", { headers: { host } })).status, host).toBe(200);
    for (const host of ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1"])
      expect((await lab.ask("GET", "/v1/sessions", { headers: { host } })).status, host).toBe(401);
  });

  it("never changes anything from this machine without a token", async () => {
    const put = await lab.ask("PUT", "/v1/services/wine", { body: {} });
    expect(put.status).toBe(401);
    expect(await lab.store.services.list()).toEqual([]);
  });

  it("needs a token where a proxy may stand between", async () => {
    for (const name of ["x-forwarded-for", "forwarded", "via"])
      expect((await lab.ask("GET", "/v1/me", { headers: { [name]: "192.0.2.1" } })).status, name).toBe(401);
  });

  it("needs a token in a cluster, behind a proxy, and where the operator wants it", async () => {
    const http = { listen: "127.0.0.1:0" };
    for (const settings of [
      { http: { ...http, loopbackReads: false } },
      { http: { ...http, plain: true } },
      { http, store: "mongodb://127.0.0.1/tollgate" },
    ]) {
      const other = await ApiLab.create(settings);
      expect((await other.ask("GET", "/v1/me")).status, JSON.stringify(settings)).toBe(401);
      await other.close();
    }
  });

  it("is no other site's page: by its Origin, or as the browser says", async () => {
    const token = await lab.token("operator");
    const own = `127.0.0.1:${lab.port}`;
    const refused = [
      { origin: "https://evil.example" },
      { origin: "null" },
      { origin: `http://127.0.0.1:${lab.port + 1}` },
      { "sec-fetch-site": "cross-site" },
      { "sec-fetch-site": "same-site" },
    ];
    for (const headers of refused)
      for (const one of [token, undefined])
        expect((await lab.ask("GET", "/v1/me", { token: one, headers })).status, JSON.stringify(headers)).toBe(403);
    for (const headers of [{ origin: `http://${own}` }, { "sec-fetch-site": "same-origin" }])
      expect((await lab.ask("GET", "/v1/me", { headers: { host: own, ...headers } })).status).toBe(200);
  });

  it("sends JSON, which no form of another site can, and not too much of it", async () => {
    const token = await lab.token("operator");
    const form = { "content-type": "text/plain" };
    expect((await lab.ask("PUT", "/v1/services/wine", { token, body: "{}", headers: form })).status).toBe(415);
    const long = JSON.stringify({ title: "x".repeat(70_000) });
    expect((await lab.ask("PUT", "/v1/services/wine", { token, body: long })).status).toBe(413);
    expect((await lab.ask("PUT", "/v1/services/wine", { token, body: "{" })).status).toBe(400);
    expect((await lab.ask("PUT", "/v1/services/wine", { token, body: "[]" })).status).toBe(400);
  });

  it("may ask so many times in a second, and no more", async () => {
    const slow = await ApiLab.create({ http: { listen: "127.0.0.1:0", perSecond: 3 } });
    const answers = await Promise.all(Array.from({ length: 12 }, () => slow.ask("GET", "/v1/me")));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(12 - 2 * 3); // a second may end in between
    expect(refused[0]!.headers["retry-after"]).toBe("1");
    await slow.close();
  });
});
