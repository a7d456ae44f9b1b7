import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { configSchema } from "../../src/config/schema.ts";
import { Api } from "../../src/console/api.ts";
import { askControl, controlPath, startControl } from "../../src/console/control.ts";
import type { OwnerHandler } from "../../src/console/owner-routes.ts";
import { ROUTES } from "../../src/console/routes.ts";
import { ask } from "./http-lab.ts";

const config = configSchema.parse({ http: { listen: "127.0.0.1:0", plain: true, metrics: "off" } });
const apiFor = (owner: Record<string, OwnerHandler>) => new Api({ config, log: pino({ level: "silent" }), owner });
const listenerFor = (owner: Record<string, OwnerHandler>) => apiFor(owner).bySocket;

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
        "GET /sessions": () => [{ id: "s1" }],
        "POST /drain": (body) => ({ given: body }),
        "GET /lockouts": () => {
          throw new Error("out of order");
        },
      }),
    });
    try {
      expect(await askControl(path, "GET", "/sessions")).toEqual({ ok: true, value: [{ id: "s1" }] });
      expect(await askControl(path, "POST", "/drain", { ms: 5 })).toEqual({ ok: true, value: { given: { ms: 5 } } });
      expect(await askControl(path, "GET", "/other")).toEqual({
        ok: false,
        error: { absent: false, message: "no GET /other here" },
      });
      expect(await askControl(path, "GET", "/lockouts")).toEqual({
        ok: false,
        error: { absent: false, message: "out of order" },
      });
      const large = await askControl(path, "POST", "/drain", "x".repeat(70_000));
      expect(large).toEqual({ ok: false, error: { absent: false, message: "the body is too large" } });
      expect(statSync(path).mode & 0o777).toBe(0o600);
    } finally {
      await control.close();
    }
    expect(await askControl(path, "GET", "/sessions")).toMatchObject({ ok: false, error: { absent: true } });
  });

  it("keeps a second relay off the data folder", async () => {
    const path = controlPath(folder);
    const control = await startControl({ path, listener: listenerFor({}) });
    try {
      await expect(startControl({ path, listener: listenerFor({}) })).rejects.toThrow(
        "another relay runs on this data folder",
      );
    } finally {
      await control.close();
    }
  });

  it("takes the place of a socket that a crash left behind", async () => {
    const path = controlPath(folder);
    writeFileSync(path, "");
    const control = await startControl({ path, listener: listenerFor({ "GET /sessions": () => [] }) });
    expect(await askControl(path, "GET", "/sessions")).toEqual({ ok: true, value: [] });
    await control.close();
  });

  it("says that a path is too long for a socket", async () => {
    await expect(startControl({ path: `/${"x".repeat(200)}`, listener: listenerFor({}) })).rejects.toThrow(
      "shorter path",
    );
  });
});

describe("what is asked by TCP and by the socket is one application", () => {
  it("and nothing that only the owner of the data folder may do is there by TCP", async () => {
    let asked = 0;
    const api = apiFor(
      Object.fromEntries(
        ["GET /sessions", "GET /nodes", "GET /lockouts", "POST /lockouts/lift", "POST /drain", "GET /unlisted"].map(
          (name) => [name, () => ++asked],
        ),
      ),
    );
    api.serve({
      charging: {},
      identity: undefined,
      metrics: () => ({ counters: {}, gauges: { sessions: 3 } }),
    } as never);
    const server = await api.listen(config.http.listen!);
    const path = controlPath(folder);
    const control = await startControl({ path, listener: api.bySocket });
    try {
      const forOwners = Object.entries(ROUTES).filter(([, { access }]) => access === "owner");
      for (const [, { doors }] of forOwners) expect(doors).toEqual(["socket"]);
      expect(forOwners.map(([place]) => place)).toEqual([
        "/sessions",
        "/calls",
        "/watch",
        "/traces",
        "/traces/start",
        "/traces/stop",
        "/traces/export",
        "/nodes",
        "/lockouts",
        "/lockouts/lift",
        "/registrations",
        "/registrations/remove",
        "/drain",
      ]);
      for (const [place] of [...forOwners, ["/unlisted"] as const])
        for (const method of ["GET", "POST", "PUT", "OPTIONS"])
          for (const spelt of [
            place,
            `${place}?x`,
            `${place}/`,
            `/${place}`,
            `/%${place.charCodeAt(1).toString(16)}${place.slice(2)}`,
            `http://control.sock${place}`,
          ])
            expect((await ask({ port: server.port }, method, spelt)).status, `${method} ${spelt}`).toBe(404);
      expect(asked).toBe(0);
      expect((await ask({ port: server.port }, "GET", "/metrics")).status).toBe(404); // http.metrics: off
      expect((await ask({ port: server.port }, "GET", "/v1/openapi.yaml")).status).toBe(200);

      expect(await askControl(path, "GET", "/sessions")).toEqual({ ok: true, value: 1 });
      expect(await askControl(path, "POST", "/lockouts/lift")).toEqual({ ok: true, value: 2 });
      expect(await askControl(path, "GET", "/unlisted")).toMatchObject({ ok: false });
      const metrics = await new Promise<string>((resolve, reject) => {
        const outgoing = request({ socketPath: path, path: "/metrics", agent: false }, (response) => {
          response.setEncoding("utf8").once("data", resolve);
        });
        outgoing.on("error", reject).end();
      });
      expect(metrics).toContain("tollgate_sessions 3");
      // Charges are made with a key, by TCP: whoever owns the folder has none.
      expect(await askControl(path, "POST", "/v1/charges", {})).toMatchObject({ ok: false });
      expect(asked).toBe(2);
    } finally {
      await control.close();
      await server.close();
    }
  });
});
