import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { createProofCheck, type ProofOptions } from "../../src/sdk/proof.ts";
import { identityHeader, type Passport } from "../../src/sip/passport.ts";

const x5u = "https://portal.example/identity/certificate.pem";
const pair = () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { key: privateKey, jwk: { ...publicKey.export({ format: "jwk" }), alg: "ES256" } };
};
const relay = pair();
const NOW = 1_700_000_000;

let tokens = 0;
const token = (changes: Partial<Passport> = {}, key: KeyObject = relay.key) =>
  identityHeader(
    {
      orig: { uri: "sip:alice@portal.example" },
      dest: { uri: ["sip:wine@portal.example", "sip:192.0.2.7"] },
      iat: NOW,
      jti: `j${++tokens}`,
      ...changes,
    },
    { key, x5u },
  );

const REQUEST = { to: "sip:wine@portal.example" };
const checkWith = (options: Partial<ProofOptions> = {}) =>
  createProofCheck({
    self: "sip:192.0.2.7:5070;transport=tcp",
    keys: { keys: [relay.jwk] },
    now: () => NOW * 1000,
    ...options,
  });
const check = checkWith();

describe("an app server's check of the relay's signature (M10, RFC 8224 §6.2)", () => {
  it("takes what the relay has signed for it, and says who calls", async () => {
    expect(await check({ ...REQUEST, identities: [token()] })).toEqual({ ok: true, user: "sip:alice@portal.example" });
  });

  it("takes one good Identity beside others that are not (§6.2.1)", async () => {
    const identities = ["rubbish", token({}, pair().key), token()];
    expect(await check({ ...REQUEST, identities })).toMatchObject({ ok: true });
  });

  it.each<[string, () => readonly string[], number]>([
    ["without Identity", () => [], 428],
    ["with an extension that it does not know", () => [`${token()};ppt=shaken`], 428],
    ["with something that is no token", () => ["nonsense;info=<https://x>"], 438],
    ["signed by another", () => [token({}, pair().key)], 438],
    [
      "with a changed payload",
      () => [token().replace(/\.[^.]+\./, `.${Buffer.from("{}").toString("base64url")}.`)],
      438,
    ],
    ["older than a minute", () => [token({ iat: NOW - 61 })], 403],
    ["from the future", () => [token({ iat: NOW + 61 })], 403],
    [
      "meant for another app server",
      () => [token({ dest: { uri: ["sip:wine@portal.example", "sip:192.0.2.8"] } })],
      438,
    ],
    ["meant for another service", () => [token({ dest: { uri: ["sip:beer@portal.example", "sip:192.0.2.7"] } })], 438],
    ["without dest", () => [token({ dest: {} })], 438],
  ])("refuses a request %s", async (_, identities, status) => {
    expect(await check({ ...REQUEST, identities: identities() })).toMatchObject({ ok: false, status });
  });

  it("refuses a replay, also minutes of good tokens later", async () => {
    let now = NOW * 1000;
    const own = checkWith({ now: () => now });
    const first = token();
    expect(await own({ ...REQUEST, identities: [first] })).toMatchObject({ ok: true });
    expect(await own({ ...REQUEST, identities: [first] })).toMatchObject({ ok: false, status: 403 });
    now += 59_000;
    expect(await own({ ...REQUEST, identities: [first] })).toMatchObject({ status: 403, reason: "Replayed Identity" });
    now += 300_000;
    expect(await own({ ...REQUEST, identities: [first] })).toMatchObject({ status: 403, reason: "Stale Date" });
  });

  it("remembers so many and no more: then 503, until the old ones are too old to be replayed", async () => {
    let now = NOW * 1000;
    const own = checkWith({ maxRemembered: 2, now: () => now });
    const statuses = [];
    for (let i = 0; i < 3; i++) statuses.push(await own({ ...REQUEST, identities: [token()] }));
    expect(statuses).toMatchObject([{ ok: true }, { ok: true }, { ok: false, status: 503 }]);
    now += 300_000;
    expect(await own({ ...REQUEST, identities: [token({ iat: NOW + 300 })] })).toMatchObject({ ok: true });
  });

  it("forgets no token because the wall clock was set forward, and back again", async () => {
    let now = NOW * 1000;
    const own = checkWith({ now: () => now, monotonic: () => 5_000 });
    const first = token();
    await own({ ...REQUEST, identities: [first] });
    for (const at of [NOW + 3_600, NOW + 86_400]) {
      now = at * 1000;
      expect(await own({ ...REQUEST, identities: [token({ iat: at })] })).toMatchObject({ ok: true });
    }
    now = NOW * 1000;
    expect(await own({ ...REQUEST, identities: [first] })).toMatchObject({ status: 403, reason: "Replayed Identity" });
  });

  it("remembers none for longer because the wall clock was set back", async () => {
    let [now, monotonic] = [NOW * 1000, 5_000];
    const own = checkWith({ maxRemembered: 2, now: () => now, monotonic: () => monotonic });
    for (let i = 0; i < 2; i++) await own({ ...REQUEST, identities: [token()] });
    now -= 3_600_000;
    const later = () => own({ ...REQUEST, identities: [token({ iat: NOW - 3_600 })] });
    expect(await later()).toMatchObject({ status: 503 });
    monotonic += 300_000;
    expect(await later()).toMatchObject({ ok: true });
  });

  it("takes either key while one takes over from another", async () => {
    const next = pair();
    const own = checkWith({ keys: { keys: [next.jwk, relay.jwk] } });
    expect(await own({ ...REQUEST, identities: [token()] })).toMatchObject({ ok: true });
    expect(await own({ ...REQUEST, identities: [token({}, next.key)] })).toMatchObject({ ok: true });
    expect(await own({ ...REQUEST, identities: [token({}, pair().key)] })).toMatchObject({ status: 438 });
  });

  it("fetches the key set from the relay; 436 while it cannot be had", async () => {
    const server = createServer((_, response) => {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ keys: [relay.jwk] }));
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/.well-known/jwks.json`;
    expect(await checkWith({ keys: url })({ ...REQUEST, identities: [token()] })).toMatchObject({ ok: true });
    server.close();
    server.closeAllConnections();
    await once(server, "close");
    expect(await checkWith({ keys: url })({ ...REQUEST, identities: [token()] })).toMatchObject({ status: 436 });
  });

  it("fetches it again where no key fits, after ten seconds, and after ten minutes for a key that is given up, whatever the time of day", async () => {
    let set: object[] = [];
    let fetched = 0;
    const server = createServer((_, response) => {
      fetched++;
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify({ keys: set }));
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    onTestFinished(() => void server.close().closeAllConnections());
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/.well-known/jwks.json`;
    vi.useFakeTimers({ toFake: ["Date"], now: NOW * 1000 });
    onTestFinished(() => void vi.useRealTimers());
    let monotonic = 0;
    const own = checkWith({ keys: url, now: () => NOW * 1000, monotonic: () => monotonic });
    const checked = async () => [await own({ ...REQUEST, identities: [token()] }), fetched];
    expect(await checked()).toMatchObject([{ status: 437 }, 1]);
    set = [relay.jwk];
    vi.setSystemTime((NOW - 3_600) * 1000);
    monotonic += 9_999;
    expect(await checked()).toMatchObject([{ status: 437 }, 1]);
    monotonic += 1;
    expect(await checked()).toMatchObject([{ ok: true }, 2]);
    set = [pair().jwk];
    monotonic += 599_999;
    expect(await checked()).toMatchObject([{ ok: true }, 2]);
    monotonic += 1;
    expect(await checked()).toMatchObject([{ status: 438 }, 3]);
  });
});
