import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { HttpServer } from "../../src/console/http.ts";
import { pageFiles } from "../../src/console/page-routes.ts";
import { createLogger } from "../../src/support/logger.ts";
import { ask } from "./http-lab.ts";
import { serveApi } from "./serve-api.ts";

/** What is served as the page, all of it, compressed. */
const MOST_BYTES = 60 * 1024;

const config = {
  http: { plain: false, connections: 32, connectionsPerSource: 32, perSecond: 50, metrics: "loopback" as const },
  portal: { realm: "portal.example" },
};

let http: HttpServer;
beforeAll(async () => {
  http = await serveApi({
    config: config as never,
    listen: { address: "127.0.0.1", port: 0 },
    log: createLogger({ level: "silent" as never, pretty: false }),
    relay: {
      charging: { direct: {}, appServerKey: () => undefined },
      metrics: () => ({ counters: {}, gauges: {} }),
    } as never,
  });
});
afterAll(() => http.close());

const texts = () =>
  [...pageFiles()]
    .filter(([name]) => /\.(js|css|html)$/.test(name))
    .map(([, { plain }]) => Buffer.from(plain).toString("utf8"));

describe("the console's page (P1)", () => {
  it("is at most 60 kB in sum, compressed", () => {
    const sizes = [...pageFiles()].map(([name, { gzipped }]) => [name, gzipped.length] as const);
    expect(sizes.length, "the page was not built: npm run build").toBeGreaterThan(5);
    const sum = sizes.reduce((all, [, bytes]) => all + bytes, 0);
    expect(sum, JSON.stringify(sizes)).toBeLessThanOrEqual(MOST_BYTES);
  });

  it("lets nothing run or be asked that is not the relay's own, and no text become markup", async () => {
    const { status, headers, text } = await ask(http, "GET", "/console/");
    expect(status).toBe(200);
    const policy = new Map(
      (headers["content-security-policy"] as string).split("; ").map((one) => {
        const [name = "", ...sources] = one.split(" ");
        return [name, sources.join(" ")];
      }),
    );
    expect(policy.get("default-src")).toBe("'none'");
    for (const kind of ["script-src", "style-src", "connect-src"]) expect(policy.get(kind)).toBe("'self'");
    for (const kind of ["base-uri", "form-action", "frame-ancestors"]) expect(policy.get(kind)).toBe("'none'");
    expect(policy.get("require-trusted-types-for")).toBe("'script'");
    expect(headers["x-content-type-options"]).toBe("nosniff");
    expect(headers["referrer-policy"]).toBe("no-referrer");
    expect(text).not.toMatch(/<script(?![^>]*\bsrc=)|\son\w+=|<style|style=/);
  });

  it("loads nothing from another host", () => {
    for (const text of texts()) {
      const hosts = new Set(Array.from(text.matchAll(/https?:\/\/([a-z0-9.-]+)/gi), ([, host]) => host));
      // The RFC editor is linked to; the other is the name of a namespace.
      for (const host of hosts) expect(["www.rfc-editor.org", "www.w3.org"]).toContain(host);
      expect(text).not.toMatch(/url\(["']?(https?:)?\/\//);
    }
  });

  it("serves compressed files that browsers may keep, and the page itself anew", async () => {
    const page = await ask(http, "GET", "/console/");
    expect(page.headers["cache-control"]).toBe("no-cache");
    const script = /src="([^"]+)"/.exec(page.text)![1]!;
    const { status, headers } = await ask(http, "GET", `/console/${script}`, { "Accept-Encoding": "gzip" });
    expect(status).toBe(200);
    expect(headers).toMatchObject({ "content-encoding": "gzip", "content-type": "text/javascript; charset=utf-8" });
    expect(headers["cache-control"]).toContain("immutable");
    const file = pageFiles().get(script)!;
    expect(gunzipSync(file.gzipped).equals(Buffer.from(file.plain))).toBe(true);
  });

  it("sends whoever asks for the page without its slash to it, and finds no other file", async () => {
    expect(await ask(http, "GET", "/console")).toMatchObject({ status: 308, headers: { location: "console/" } });
    for (const path of [
      "/console/..%2fpackage.json",
      "/console/../../package.json",
      "/console/x/y",
      "/console/constructor",
    ])
      expect((await ask(http, "GET", path)).status, path).toBe(404);
    expect((await ask(http, "POST", "/console/")).status).toBe(404);
  });

  it("has the licences of what is in it", () => {
    expect(Buffer.from(pageFiles().get("licences.txt")!.plain).toString()).toContain(
      "Copyright (c) 2015-present Jason Miller",
    );
  });
});
