import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { configSchema } from "../../src/config/schema.ts";
import { Api } from "../../src/console/api.ts";
import { askControl, controlPath, startControl } from "../../src/console/control.ts";
import type { OperatedRelay } from "../../src/operations/context.ts";
import { everywhereOf, idleRelay } from "./api-lab.ts";
import { ask } from "./http-lab.ts";

const config = configSchema.parse({ http: { listen: "127.0.0.1:0", plain: true, metrics: "off" } });
const apiFor = (relay: Partial<OperatedRelay> = {}) =>
  new Api({
    config,
    log: pino({ level: "silent" }),
    context: (caller) => ({
      ...{ config, configName: "tollgate.yaml", caller, now: () => 0 },
      relay: idleRelay(relay),
      store: { audit: { add: async () => {}, forget: async () => 0 } } as never,
    }),
  });
const listenerFor = (relay?: Partial<OperatedRelay>) => apiFor(relay).bySocket;
const session = { id: "s1", call: "c1", user: "alice", service: "wine", appServer: "shop", state: "established" };

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tg-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe("the control socket", () => {
  it("hands requests to their handlers and answers in JSON", async () => {
    const path = controlPath(folder);
    const control = await startControl({
      path,
      listener: listenerFor({
        everywhere: everywhereOf({ sessions: () => [session] }),
        lockOuts: () => {
          throw new Error("out of order");
        },
      }),
    });
    try {
      expect(await askControl(path, "GET", "/v1/sessions")).toEqual({ ok: true, value: { sessions: [session] } });
      expect(await askControl(path, "POST", "/v1/lockouts/lift", { all: true })).toMatchObject({ ok: true });
      const refused = (message: string, status: number) => ({ ok: false, error: { absent: false, message, status } });
      expect(await askControl(path, "GET", "/other")).toEqual(refused("no GET /other here", 404));
      expect(await askControl(path, "GET", "/v1/lockouts")).toEqual(refused("out of order", 500));
      const large = await askControl(path, "POST", "/v1/lockouts/lift", "x".repeat(70_000));
      expect(large).toEqual(refused("The body is too large", 413));
      expect(statSync(path).mode & 0o777).toBe(0o600);
    } finally {
      await control.close();
    }
    expect(await askControl(path, "GET", "/v1/sessions")).toMatchObject({ ok: false, error: { absent: true } });
  });

  it("keeps a second relay off the data folder", async () => {
    const path = controlPath(folder);
    const control = await startControl({ path, listener: listenerFor() });
    try {
      await expect(startControl({ path, listener: listenerFor() })).rejects.toThrow(
        "another relay runs on this data folder",
      );
    } finally {
      await control.close();
    }
  });

  it("takes the place of a socket that a crash left behind", async () => {
    const path = controlPath(folder);
    writeFileSync(path, "");
    const control = await startControl({ path, listener: listenerFor() });
    expect(await askControl(path, "GET", "/v1/sessions")).toEqual({ ok: true, value: { sessions: [] } });
    await control.close();
  });

  it("says that a path is too long for a socket", async () => {
    await expect(startControl({ path: `/${"x".repeat(200)}`, listener: listenerFor() })).rejects.toThrow(
      "shorter path",
    );
  });
});

describe("what is asked by TCP and by the socket is one application", () => {
  it("and the socket alone needs no token", async () => {
    let asked = 0;
    const api = apiFor({ everywhere: everywhereOf({ sessions: () => [{ ...session, id: `s${++asked}` }] }) });
    api.serve({
      charging: {},
      identity: undefined,
      metrics: () => ({ counters: {}, gauges: { sessions: 3 } }),
    } as never);
    const server = await api.listen(config.http.listen!);
    const path = controlPath(folder);
    const control = await startControl({ path, listener: api.bySocket });
    try {
      for (const place of ["/v1/sessions", "/v1/nodes/self/drain", "/v1/users", "/v1/tokens", "/v1/audit"])
        for (const method of ["GET", "POST", "PUT", "OPTIONS"])
          for (const spelt of [
            place,
            `${place}?x`,
            `${place}/`,
            `/${place}`,
            `/%${place.charCodeAt(1).toString(16)}${place.slice(2)}`,
            `http://control.sock${place}`,
          ])
            expect([401, 404, 405], `${method} ${spelt}`).toContain(
              (await ask({ port: server.port }, method, spelt)).status,
            );
      expect(asked).toBe(0);
      expect((await ask({ port: server.port }, "GET", "/metrics")).status).toBe(404); // http.metrics: off
      expect((await ask({ port: server.port }, "GET", "/v1/openapi.yaml")).status).toBe(200);

      expect(await askControl(path, "GET", "/v1/sessions")).toMatchObject({ ok: true });
      expect(await askControl(path, "POST", "/v1/lockouts/lift", { all: true })).toMatchObject({ ok: true });
      const metrics = await new Promise<string>((resolve, reject) => {
        const outgoing = request({ socketPath: path, path: "/metrics", agent: false }, (response) => {
          response.setEncoding("utf8").once("data", resolve);
        });
        outgoing.on("error", reject).end();
      });
      expect(metrics).toContain("tollgate_sessions 3");
      // Charges are made with a key, by TCP: whoever owns the folder has none.
      expect(await askControl(path, "POST", "/v1/charges", {})).toMatchObject({ ok: false });
      expect(asked).toBe(1);
    } finally {
      await control.close();
      await server.close();
    }
  });
});
