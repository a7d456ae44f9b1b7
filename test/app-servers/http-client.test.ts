import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { SecureContext } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { healthAnswer, sipAnswer } from "../../src/app-servers/answers.ts";
import { HttpClient, type HttpQuestion } from "../../src/app-servers/http-client.ts";
import { HTTP_URL_EXPECTED, HTTPS_EXPECTED, httpUrlProblem, withSipPart } from "../../src/directory/http-address.ts";
import { Certificates } from "../../src/transport/certificates.ts";
import { authority, certificateFolder } from "../support/certificates.ts";
import { TestClock } from "../support/test-clock.ts";
import { until } from "../support/until.ts";

/* What the relay takes from app servers that speak HTTP: each of them is a stranger in what it answers. */

const BOUNDS = { connectMs: 1_000, answerBytes: 1_024, connections: 2, waiting: 3 };
const POST: HttpQuestion = { method: "POST", headers: {}, body: Buffer.from("{}"), withinMs: 5_000 };

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function client(answer: (request: IncomingMessage, response: ServerResponse) => void, clock = new TestClock()) {
  const server = createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const one = new HttpClient(new URL(`http://127.0.0.1:${port}/tollgate`), BOUNDS, clock);
  closers.push(() => {
    one.close();
    server.closeAllConnections();
    server.close();
  });
  return { one, clock, server };
}

async function secureClient(
  files: { readonly cert: string; readonly key: string },
  secure: () => SecureContext,
  clock: TestClock,
) {
  const tls = { cert: readFileSync(files.cert), key: readFileSync(files.key) };
  const server = createTlsServer(tls, (_, response) => response.writeHead(204).end());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = new URL(`https://127.0.0.1:${port}/tollgate`);
  const one = new HttpClient(url, BOUNDS, clock, { secure, name: "shop.example" });
  closers.push(() => {
    one.close();
    server.closeAllConnections();
    server.close();
  });
  return { one, server };
}

describe("a request to an app server by HTTP", () => {
  it("is answered, on a connection that stays open for the next", async () => {
    const ports = new Set<number | undefined>();
    const { one } = await client((request, response) => {
      ports.add(request.socket.remotePort);
      response.writeHead(486, "Sold Out", { "Retry-After": "7", "Content-Type": "text/plain" }).end("no");
    });
    const answer = { status: 486, phrase: "Sold Out", contentType: "text/plain", retryAfter: "7" };
    for (let i = 0; i < 3; i++) expect(await one.ask(POST)).toMatchObject(answer);
    expect(ports.size).toBe(1);
  });

  it("follows no redirect", async () => {
    const paths: (string | undefined)[] = [];
    const { one } = await client((request, response) => {
      paths.push(request.url);
      response.writeHead(307, { Location: "/elsewhere" }).end();
    });
    expect(sipAnswer(await one.ask(POST), 0)).toMatchObject({ status: 502 });
    expect(paths).toEqual(["/tollgate"]);
  });

  it("takes no more of an answer than it may have", async () => {
    const { one } = await client((_, response) => response.end("x".repeat(2_000)));
    expect(await one.ask(POST)).toEqual({ failed: "its answer has more than 1024 bytes" });
    const endless = await client((_, response) => {
      const write = () => void (response.write("x".repeat(600)) && setImmediate(write));
      write();
    });
    expect(await endless.one.ask(POST)).toEqual({ failed: "its answer has more than 1024 bytes" });
  });

  it("waits no longer than it may, unless the app server says 102, and not for ever then", async () => {
    let asked = 0;
    const { one, clock } = await client((_, response) => {
      if (++asked === 2) response.writeProcessing();
    });
    const late = { failed: "no answer in time", late: true };
    const first = one.ask(POST);
    await until(() => asked > 0);
    clock.advance(5_000);
    expect(await first).toEqual(late);
    let working = () => {};
    const works = new Promise<void>((resolve) => {
      working = resolve;
    });
    const second = one.ask({ ...POST, working, workingMs: 60_000 });
    await works;
    clock.advance(59_000);
    const third = one.ask({ ...POST, withinMs: 500 });
    clock.advance(500);
    expect(await third).toEqual(late);
    clock.advance(1_000);
    expect(await second).toEqual(late);
  });

  it("is given up when it is cancelled", async () => {
    const abort = new AbortController();
    const { one } = await client(() => abort.abort());
    expect(await one.ask({ ...POST, signal: abort.signal })).toEqual({ failed: "given up" });
    expect(await one.ask({ ...POST, signal: abort.signal })).toEqual({ failed: "given up" });
  });

  it("is not made where too many are under way", async () => {
    const { one } = await client(() => {});
    for (let i = 0; i < BOUNDS.waiting; i++) void one.ask(POST);
    expect(await one.ask(POST)).toEqual({ failed: "too many requests wait for it" });
  });

  it("believes the authorities that stand in tls.ca at that time, without a restart (M5)", async () => {
    const files = certificateFolder(["DNS:shop.example", "IP:127.0.0.1"]);
    const clock = new TestClock();
    const certificates = new Certificates({ ca: files.ca }, clock);
    certificates.watch();
    closers.push(() => certificates.close());
    const { one, server } = await secureClient(files, () => certificates.client, clock);
    expect(await one.ask(POST)).toMatchObject({ status: 204 });
    const next = authority();
    const { cert, key } = next.issue({ names: ["DNS:shop.example"] });
    server.setSecureContext({ cert, key });
    server.closeAllConnections();
    rmSync(files.ca); // whoever renews it takes it away for a moment
    clock.advance(10_000);
    expect(await one.ask(POST)).toMatchObject({ failed: expect.stringContaining("CERT_SIGNATURE") });
    writeFileSync(files.ca, next.cert);
    clock.advance(10_000);
    expect(await one.ask(POST)).toMatchObject({ status: 204 });
  });

  it("fails where nobody listens", async () => {
    const { one, server } = await client(() => {});
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    expect(await one.ask(POST)).toEqual({ failed: "ECONNREFUSED" });
  });
});

describe("an answer by HTTP, in SIP", () => {
  const said = (status: number, body = "", more: object = {}) => ({
    status,
    phrase: "Own Words",
    contentType: "application/json",
    retryAfter: undefined,
    body: Buffer.from(body),
    ...more,
  });
  const bodyOf = (answer: ReturnType<typeof sipAnswer>) => answer.body?.content.toString();

  it("has the URL that the client opens, and nothing else of the body", () => {
    const answer = sipAnswer(said(200, '{"url":"https://shop.example/1","secret":"x"}'), 0);
    expect([answer.status, bodyOf(answer)]).toEqual([200, '{"url":"https://shop.example/1"}']);
  });

  it.each([
    ["204", said(204)],
    ["an empty 200", said(200)],
    ["no url", said(201, "{}")],
  ])("is a success without a URL: %s", (_, outcome) => {
    const answer = sipAnswer(outcome, 0);
    expect([answer.status, bodyOf(answer)]).toEqual([200, "{}"]);
  });

  it("may be SDP, for a softphone", () => {
    const answer = sipAnswer(said(200, "v=0", { contentType: "application/sdp; x=y" }), 0);
    expect(answer).toMatchObject({ status: 200, body: { contentType: "application/sdp" } });
  });

  it.each([
    ["a page", said(200, "<html>", { contentType: "text/html" })],
    ["a list", said(200, "[1]")],
    ["a URL that is none", said(200, '{"url":"nowhere"}')],
    ["a URL that is a number", said(200, '{"url":1}')],
    ["a URL without end", said(200, `{"url":"https://a/${"x".repeat(9_000)}"}`)],
    ["a redirect", said(302)],
  ])("is 502 where it cannot be used: %s", (_, outcome) => {
    expect(sipAnswer(outcome, 0).status).toBe(502);
  });

  it.each([
    [486, 486, "Own Words"],
    [603, 603, "Own Words"],
    [404, 404, "Own Words"],
    [401, 500, "Server Internal Error"],
    [407, 500, "Server Internal Error"],
    [409, 486, "Busy Here"],
    [422, 488, "Not Acceptable Here"],
    [429, 503, "Service Unavailable"],
    [481, 500, "Server Internal Error"],
    [511, 500, "Server Internal Error"],
  ])("%i is %i %s", (http, status, reason) => {
    expect(sipAnswer(said(http), 0)).toMatchObject({ status, reason });
  });

  it("keeps Retry-After, in seconds or as a date", () => {
    const rest = (retryAfter: string) => sipAnswer(said(503, "", { retryAfter }), 0).headers;
    expect(rest("120")).toEqual([["Retry-After", "120"]]);
    expect(rest("Thu, 01 Jan 1970 00:01:00 GMT")).toEqual([["Retry-After", "60"]]);
    expect(rest("soon")).toBeUndefined();
  });

  it("brings no second line into a SIP message", () => {
    expect(sipAnswer(said(486, "", { phrase: "a\r\nVia: x" }), 0).reason).not.toMatch(/[\r\n]/);
  });

  it("says by OPTIONS that the app server is there, unless a gateway says that it is not", () => {
    const health = (status: number) => healthAnswer(said(status), 0).status;
    expect([200, 404, 405, 500, 501].map(health)).toEqual([200, 200, 200, 200, 200]);
    expect([502, 503, 504].map(health)).toEqual([503, 503, 503]);
    expect(healthAnswer({ failed: "ECONNREFUSED" }, 0).status).toBe(503);
  });
});

describe("the URL of an app server", () => {
  it.each([
    "https://shop.example/tollgate",
    "https://10.0.0.1:8443/",
    "http://127.0.0.1:8080/x",
    "http://[::1]/",
    "http://localhost/",
  ])("may be %s", (url) => expect(httpUrlProblem(url, false)).toBeUndefined());

  it.each([
    ["https://user:password@shop.example/", HTTP_URL_EXPECTED],
    ["https://user@shop.example/", HTTP_URL_EXPECTED],
    ["https://shop.example/#part", HTTP_URL_EXPECTED],
    ["https:\\\\shop.example", HTTP_URL_EXPECTED],
    ["https://", HTTP_URL_EXPECTED],
    ["ftp://shop.example/", HTTP_URL_EXPECTED],
    [`https://shop.example/${"x".repeat(1_000)}`, HTTP_URL_EXPECTED],
    ["http://shop.example/", HTTPS_EXPECTED],
    ["http://10.0.0.1/", HTTPS_EXPECTED],
  ])("may not be %s", (url, expected) => {
    expect(httpUrlProblem(url, false)).toBe(expected);
  });

  it("may be http where the operator says so", () => {
    expect(httpUrlProblem("http://10.0.0.1/", true)).toBeUndefined();
  });

  it("leads to a SIP part of its own, at an address that no packet comes from", () => {
    const [one, other] = ["one", "other"].map((id) => withSipPart({ id, uri: "https://a/", services: [] }));
    expect(one!.uri).toMatch(/^sip:one@\[100::[0-9a-f:]+\];transport=http$/);
    expect(one!.uri).not.toBe(other!.uri.replace("other", "one"));
    expect(one!.url).toBe("https://a/");
    const sip = { id: "one", uri: "sip:10.0.0.1", services: [] };
    expect(withSipPart(sip)).toBe(sip);
  });
});
