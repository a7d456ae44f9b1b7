import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import type { BookKeeping } from "../../src/charging/charges/book.ts";
import { ChargeBook } from "../../src/charging/charges/book.ts";
import { DayLedger } from "../../src/charging/charges/day-ledger.ts";
import { type ChargeableSession, DirectCharges } from "../../src/charging/charges/direct.ts";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { configSchema } from "../../src/config/schema.ts";
import type { HttpServer } from "../../src/console/http.ts";
import { bearerToken, newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { systemRandom } from "../../src/support/random.ts";
import { Timelines } from "../../src/support/timeline.ts";
import { MemoryBilling } from "../charging/memory-store.ts";
import { facts, silent } from "../charging/samples.ts";
import { keptLog } from "../support/lines.ts";
import { TestClock } from "../support/test-clock.ts";
import { type Answered, ask, selfSigned, temporaryFolder } from "./http-lab.ts";
import { serveApi } from "./serve-api.ts";

/*
 * The API over real sockets. Every request that is meant to be right, and every answer, is held against
 * ops/openapi.yaml.
 */

const key = (appServer: string) =>
  newAppServerKey({ appServer, portalRealm: "localhost", md5: false, now: 0, random: systemRandom });
const ofTeacher = key("teacher-1");
const ofOther = key("teacher-2");
const bearer = ({ key: { id }, secret }: typeof ofTeacher) => `Bearer ${bearerToken(id, secret)}`;

const charge = (id: string, over: object = {}) => ({ id, item: "Book", unitPrice: "12.50", currency: "EUR", ...over });
const body = (charges: readonly object[], session = "s1") => JSON.stringify({ session, charges });

const description = parse(readFileSync(new URL("../../ops/openapi.yaml", import.meta.url), "utf8"));
const ajv = new Ajv2020({ strict: false, allErrors: true });
ajv.addSchema(description, "api");
const fits = (name: string, value: unknown) => {
  const validate = ajv.getSchema(`api#/components/schemas/${name}`)!;
  expect(validate(value), JSON.stringify(validate.errors)).toBe(true);
};

let api: HttpServer;
let events: ChargingEvent[];
let clock: TestClock;
let broken: boolean;
let session: { dueAt: number | null };
let services: string[];
let kept: ReturnType<typeof keptLog>;
const folder = temporaryFolder();

async function start(http: object = {}) {
  events = [];
  broken = false;
  clock = new TestClock();
  session = { dueAt: null };
  services = ["english"];
  const config = configSchema.parse({ http: { listen: "127.0.0.1:0", ...http } });
  const keeping: BookKeeping = {
    recorder: {
      full: false,
      append: async (event) => {
        if (broken) throw new Error("disk full");
        events.push(event);
      },
    },
    clock,
    timelines: new Timelines(clock),
    log: silent,
    counters: { charges: 0, chargesRefused: 0 },
    chargesPerSession: 1_000,
    days: new DayLedger(new MemoryBilling()),
    terms: () => undefined,
  };
  const book = new ChargeBook(keeping, facts(), { session: "100", currency: "EUR" });
  const local = (id: string): ChargeableSession | undefined =>
    id === "s1" ? { book, dueAt: session.dueAt } : undefined;
  const server = (id: string) => ({ id, uri: "sip:10.0.0.1", services });
  const directory = { service: () => undefined, appServer: server };
  const direct = new DirectCharges({ keeping, local, billing: new MemoryBilling(), directory });
  const keys = new Map([ofTeacher, ofOther].map((one) => [one.key.id, one.key]));
  const relay = {
    charging: { direct, appServerKey: (id: string) => keys.get(id) },
    identity: undefined,
    metrics: () => ({ counters: {}, gauges: {} }),
  };
  kept = keptLog();
  api = await serveApi({ config, listen: config.http.listen!, relay, log: kept.log });
}

beforeEach(() => start());
afterEach(() => api.close());

interface Given {
  readonly auth?: string | undefined;
  readonly key?: string;
  readonly type?: string;
  readonly headers?: Record<string, string>;
}

async function post(text: string, given: Given = {}): Promise<Answered> {
  const { auth = bearer(ofTeacher), type = "application/json" } = given;
  const headers: Record<string, string> = { "content-type": type, ...given.headers };
  if (auth !== "") headers.authorization = auth;
  if (given.key !== undefined) headers["idempotency-key"] = given.key;
  const answer = await ask({ port: api.port }, "POST", "/v1/charges", headers, text);
  const described = description.paths["/v1/charges"].post.responses;
  expect(Object.keys(described)).toContain(String(answer.status));
  fits(answer.status === 200 ? "Charged" : "Problem", answer.json);
  if (answer.status === 200) fits("ChargeReport", JSON.parse(text));
  else {
    expect(answer.headers["content-type"]).toBe("application/problem+json");
    expect(answer.json.status).toBe(answer.status);
  }
  if (answer.status === 429 || answer.status === 503) expect(answer.headers["retry-after"]).toMatch(/^\d+$/);
  return answer;
}

const kind = ({ json }: Answered) => json.type.replace("urn:tollgate:problem:", "");
const made = () => events.filter(({ type }) => type === "charge.made");

describe("POST /v1/charges (M17)", () => {
  it("puts charges on record, then answers with their ids; the same again is charged once", async () => {
    const two = body([charge("c1"), charge("c2", { quantity: "2", unitPrice: 3 })]);
    const first = await post(two);
    expect(first).toMatchObject({ status: 200, json: { session: "s1", charges: ["c1", "c2"] } });
    expect(made()).toMatchObject([
      { channel: "direct", charge: { id: "c1", quantity: "1" }, session: { user: "alice" } },
      { channel: "direct", charge: { id: "c2", unitPrice: "3" } },
    ]);
    const again = await post(two);
    expect(again.json).toEqual(first.json);
    expect(made()).toHaveLength(2);
  });

  it("takes the key by Basic too", async () => {
    const basic = Buffer.from(`${ofTeacher.key.id}:${ofTeacher.secret}`).toString("base64");
    expect((await post(body([charge("c1")]), { auth: `Basic ${basic}` })).status).toBe(200);
  });

  it.each([
    ["no key", ""],
    ["a key that nobody has", "Bearer 0123456789abcdef.secret"],
    ["another's secret", `Bearer ${bearerToken(ofTeacher.key.id, ofOther.secret)}`],
    ["nonsense", "Negotiate x"],
    ["a part of the secret", bearer(ofTeacher).slice(0, -1)],
  ])("answers 401 to %s", async (_, auth) => {
    const answer = await post(body([charge("c1")]), { auth });
    expect(answer.status).toBe(401);
    expect(answer.headers["www-authenticate"]).toBe(
      'Bearer realm="charges.localhost", Basic realm="charges.localhost", charset="UTF-8"',
    );
    expect(events).toEqual([]);
  });

  it("lets nobody wait who has a right key, whatever others try from the same address, or with that key", async () => {
    const wrong = ["Bearer x.y", bearer(ofTeacher).slice(0, -1)];
    const tried = await Promise.all(Array.from({ length: 60 }, (_, i) => post("{}", { auth: wrong[i % 2]! })));
    const statuses = new Set(tried.map(({ status }) => status));
    expect(statuses).toEqual(new Set([401, 429])); // over some in a second there is nothing but "too many"
    expect(kind(tried.find(({ status }) => status === 429)!)).toBe("too-many");
    expect((await post(body([charge("c1")]))).status).toBe(200);
    expect((await post(body([charge("c1")]), { auth: bearer(ofOther) })).status).toBe(404);
  });

  it("leaves a line for a wrong key, with the key, address and port, and never the secret", async () => {
    await post("{}", { auth: 'Bearer x"y.hidden' });
    const [line] = kept.of("charges: sign-in refused");
    expect(line).toMatchObject({ address: "127.0.0.1", port: expect.any(Number), transport: "http", key: "x?y" });
    expect(JSON.stringify(kept.lines)).not.toContain("hidden");
  });

  it("is for sessions that were with the app server: any other is unknown", async () => {
    const foreign = await post(body([charge("c1")]), { auth: bearer(ofOther) });
    const none = await post(body([charge("c1")], "s2"));
    expect([foreign.status, none.status]).toEqual([404, 404]);
    expect(foreign.json).toEqual(none.json);
    expect(events).toEqual([]);
  });

  it("is for services that it offers, for sessions that take charges, within their terms", async () => {
    services = ["wine"];
    expect(await post(body([charge("c1")]))).toMatchObject({ status: 403, json: { title: expect.anything() } });
    services = ["english"];
    const over = await post(body([charge("c1", { quantity: 9 })]));
    expect(over).toMatchObject({ status: 403, json: { charge: "c1" } });
    expect(over.json.detail).toContain("112.50 EUR is over the service's limit of 100.00 EUR for a session");
    session.dueAt = clock.wall() + 1;
    expect((await post(body([charge("c1")]))).status).toBe(200);
    const conflict = await post(body([charge("c1", { unitPrice: "1" })]));
    expect([conflict.status, kind(conflict)]).toEqual([409, "conflict"]);
    clock.advance(1);
    const closed = await post(body([charge("c2")]));
    expect([closed.status, kind(closed)]).toEqual([410, "closed"]);
    expect(events.map(({ type }) => type)).toEqual([
      "charge.refused",
      "charge.refused",
      "charge.made",
      "charge.refused",
      "charge.refused",
    ]);
  });

  it.each([
    ["no JSON", "{", 400, "malformed", "body is not JSON"],
    ["no session", JSON.stringify({ charges: [charge("c1")] }), 422, "unreadable", "session must be the session's id"],
    ["no charges", '{"session":"s1"}', 422, "unreadable", '"charges" is missing'],
    ["an empty list", body([]), 422, "unreadable", "body must hold at least one charge"],
    ["a float", body([charge("c1", { unitPrice: 0.1 })]), 422, "unreadable", "must be in quotes"],
    ["a refund", body([charge("c1", { unitPrice: "-1" })]), 422, "unreadable", "refunds are not taken"],
    ["a field of no meaning", body([charge("c1", { qty: 1 })]), 422, "unreadable", "there is no field"],
  ])("says what is wrong with %s", async (_, text, status, type, detail) => {
    const answer = await post(text);
    expect([answer.status, kind(answer)]).toEqual([status, type]);
    expect(answer.json.detail).toContain(detail);
    expect(made()).toEqual([]);
  });

  it("answers 413 to more than 64 KiB, with and without their number, and 415 to what is no JSON", async () => {
    const large = body([charge("c1", { item: "x".repeat(70_000) })]);
    expect((await post(large)).status).toBe(413);
    expect((await post(large, { headers: { "transfer-encoding": "chunked" } })).status).toBe(413);
    expect((await post(body([charge("c1")]), { type: "text/xml" })).status).toBe(415);
    expect((await post(body([charge("c1")]), { headers: { "content-encoding": "gzip" } })).status).toBe(415);
    expect((await post(body([charge("c1")]), { type: "application/json; charset=utf-8" })).status).toBe(200);
  });

  it("answers 503 when the disk fails, and the same request makes the charge later", async () => {
    broken = true;
    const failed = await post(body([charge("c1")]), { key: "k1" });
    expect([failed.status, kind(failed)]).toEqual([503, "unavailable"]);
    broken = false;
    expect((await post(body([charge("c1")]), { key: "k1" })).status).toBe(200);
    expect(made()).toHaveLength(1);
  });
});

describe("Idempotency-Key (draft-ietf-httpapi-idempotency-key-header)", () => {
  it("with the same body is answered alike, a refusal too", async () => {
    const first = await post(body([charge("c1")]), { key: '"k1"' });
    expect((await post(body([charge("c1")]), { key: "k1" })).json).toEqual(first.json);
    const refused = await post(body([charge("c2", { quantity: 9 })]), { key: "k2" });
    expect((await post(body([charge("c2", { quantity: 9 })]), { key: "k2" })).json).toEqual(refused.json);
    expect(events).toHaveLength(2);
  });

  it("with another body is 422; another app server's is another key", async () => {
    await post(body([charge("c1")]), { key: "k1" });
    const reused = await post(body([charge("c2")]), { key: "k1" });
    expect([reused.status, kind(reused)]).toEqual([422, "key-reused"]);
    expect((await post(body([charge("c2")]), { key: "k1", auth: bearer(ofOther) })).status).toBe(404);
    expect(made()).toHaveLength(1);
  });

  it("that is none is 400", async () => {
    expect((await post(body([charge("c1")]), { key: "x".repeat(256) })).status).toBe(400);
  });
});

describe("the HTTP server", () => {
  it("serves the description, and says 404 and 405 as problems (RFC 9457)", async () => {
    const served = await ask({ port: api.port }, "GET", "/v1/openapi.yaml");
    expect(served.status).toBe(200);
    expect(parse(served.text)).toEqual(description);
    expect(await ask({ port: api.port }, "GET", "/v1/nothing")).toMatchObject({ status: 404, json: { status: 404 } });
    const method = await ask({ port: api.port }, "GET", "/v1/charges");
    expect(method).toMatchObject({ status: 405, json: { status: 405 } });
    expect(method.headers.allow).toBe("POST");
  });

  it("answers 429 to more requests of one app server than it may send in a second", async () => {
    await api.close();
    await start({ perSecond: 3 });
    const all = await Promise.all(Array.from({ length: 8 }, (_, i) => post(body([charge(`c${i}`)]))));
    const busy = all.filter(({ status }) => status === 429);
    expect(busy.length).toBeGreaterThanOrEqual(2); // eight are two seconds' at most, if a second ends between them
    expect(made()).toHaveLength(8 - busy.length);
  });

  it("takes no more connections than it may", async () => {
    await api.close();
    await start({ connections: 1 });
    const first = connect(api.port, "127.0.0.1");
    await new Promise((resolve) => first.once("connect", resolve));
    await expect(post(body([charge("c1")]))).rejects.toThrow();
    first.destroy();
    await new Promise((resolve) => first.once("close", resolve));
    let answer: Answered | undefined;
    while (!answer) answer = await post(body([charge("c1")])).catch(() => undefined); // until the server has noticed
    expect(answer.status).toBe(200);
  });

  it("gives no address all connections: half requests of one keep nobody else out", async () => {
    await api.close();
    await start({ connections: 16, connectionsPerSource: 8 });
    const half = Array.from({ length: 40 }, () => {
      const socket = connect({ port: api.port, host: "127.0.0.1", localAddress: "127.0.0.2" });
      socket.on("error", () => undefined);
      socket.write("POST /v1/charges HTTP/1.1\r\nHost: x\r\n");
      return socket;
    });
    const ended = new Set(half.map((socket) => new Promise((resolve) => socket.once("close", resolve))));
    await Promise.all([...ended].slice(8)); // in the order in which they came
    expect((await post(body([charge("c1")]))).status).toBe(200);
    expect(kept.of("http: a connection is ended")[0]).toEqual({
      address: "127.0.0.2",
      why: "its address has as many connections as it may",
    });
    for (const socket of half) socket.destroy();
  });

  it("speaks HTTPS by the operator's certificate, and by a new one after SIGHUP", async () => {
    await api.close();
    const first = selfSigned(folder.path);
    await start({ tls: { cert: first.cert, key: first.key } });
    const headers = { "content-type": "application/json", authorization: bearer(ofTeacher) };
    const charged = await ask({ port: api.port, ca: first.pem }, "POST", "/v1/charges", headers, body([charge("c1")]));
    expect(charged.status).toBe(200);
    await expect(ask({ port: api.port }, "GET", "/v1/openapi.yaml")).rejects.toThrow();
    const second = selfSigned(folder.path); // the same files
    await expect(ask({ port: api.port, ca: second.pem }, "GET", "/v1/openapi.yaml")).rejects.toThrow("certificate");
    const key = readFileSync(second.key);
    writeFileSync(second.key, "half a key");
    api.reloadTls(); // the former one stays, and the log says why
    await expect(ask({ port: api.port, ca: second.pem }, "GET", "/v1/openapi.yaml")).rejects.toThrow("certificate");
    expect((await ask({ port: api.port, ca: first.pem }, "GET", "/v1/openapi.yaml")).status).toBe(200);
    expect(kept.of("tls: the new certificate cannot be used: the former one stays")).toHaveLength(1);
    writeFileSync(second.key, key);
    api.reloadTls();
    expect((await ask({ port: api.port, ca: second.pem }, "GET", "/v1/openapi.yaml")).status).toBe(200);
    folder.remove();
  });
});
