import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import { type Env, sourceOf } from "../../src/console/http.ts";
import { type HttpSource, HttpSources } from "../../src/console/http-source.ts";
import { addMetricsRoute } from "../../src/console/metrics.ts";

interface Asked {
  from?: string;
  headers?: Record<string, string>;
  trustedProxies?: string[];
  plain?: boolean;
}

const given = ({ trustedProxies = [], plain = false }: Asked, app = new Hono<Env>()) => {
  app.use(async (c, next) => {
    c.set("sources", new HttpSources(trustedProxies, plain));
    await next();
  });
  return app;
};
const bindings = ({ from = "127.0.0.1" }: Asked) => ({
  incoming: { socket: { remoteAddress: from, remotePort: 4711 } },
});

async function source(asked: Asked): Promise<HttpSource> {
  const app = given(asked);
  let found: HttpSource | undefined;
  app.get("/", (c) => {
    found = sourceOf(c);
    return c.text("");
  });
  await app.request("/", { headers: asked.headers ?? {} }, bindings(asked));
  return found!;
}

describe("where an HTTP request comes from", () => {
  const forwarded = (value: string) => ({ "X-Forwarded-For": value });

  it("is where its connection comes from; what anybody could write counts for nothing", async () => {
    expect(await source({ from: "192.0.2.9", headers: forwarded("127.0.0.1") })).toEqual({
      address: "192.0.2.9",
      port: 4711,
      isLocal: false,
    });
    expect(await source({ from: "::ffff:192.0.2.9" })).toMatchObject({ address: "192.0.2.9" });
    // Nor where the operator says that there is a proxy: this is not on this machine, and not named.
    expect(await source({ from: "192.0.2.9", plain: true, headers: forwarded("127.0.0.1") })).toMatchObject({
      address: "192.0.2.9",
    });
  });

  it.each([
    ["198.51.100.7", "198.51.100.7"],
    ["203.0.113.1, 198.51.100.7", "198.51.100.7"],
    ["203.0.113.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"],
    ["198.51.100.7:4711", "198.51.100.7"],
    ["[2001:db8::1]:4711", "2001:db8::1"],
    ["2001:DB8::1", "2001:db8::1"],
    ["unknown host", "name:unknownhost"],
    ["", "10.0.0.1"],
    [" , ,", "10.0.0.1"],
  ])("behind a proxy that is trusted, is what that one has noted last: %s", async (value, address) => {
    const trustedProxies = ["10.0.0.0/8"];
    expect(await source({ from: "10.0.0.1", trustedProxies, headers: forwarded(value) })).toMatchObject({ address });
  });

  it("behind a proxy on this machine (plain), too", async () => {
    expect(await source({ plain: true, headers: forwarded("198.51.100.7") })).toMatchObject({
      address: "198.51.100.7",
    });
  });
});

describe("GET /metrics behind a proxy on this machine", () => {
  const relay = { metrics: () => ({ counters: {}, gauges: {} }) };
  const status = async (asked: Asked, token?: string) => {
    const app = given(asked);
    addMetricsRoute(app, relay, "loopback", token);
    return (await app.request("/metrics", { headers: asked.headers ?? {} }, bindings(asked))).status;
  };

  it.each(["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto", "CF-Connecting-IP"])(
    "is not for those for whom the proxy asks: %s",
    async (name) => {
      expect(await status({ headers: { [name]: "127.0.0.1" } })).toBe(404);
    },
  );

  it("is not for them either where the proxy adds nothing, since the operator says that there is one", async () => {
    expect(await status({})).toBe(200);
    expect(await status({ plain: true })).toBe(404);
    expect(await status({ trustedProxies: ["127.0.0.1"] })).toBe(404);
    expect(await status({ plain: true, headers: { "X-Forwarded-For": "127.0.0.1" } })).toBe(404);
  });

  it("is for whoever has the token", async () => {
    const headers = (token: string) => ({ Authorization: `Bearer ${token}`, "X-Forwarded-For": "198.51.100.7" });
    expect(await status({ plain: true, headers: headers("t0ken") }, "t0ken")).toBe(200);
    expect(await status({ from: "198.51.100.7", headers: headers("t0ken") }, "t0ken")).toBe(200);
    expect(await status({ plain: true, headers: headers("other") }, "t0ken")).toBe(404);
    expect(await status({ plain: true, headers: headers("undefined") })).toBe(404);
  });
});
