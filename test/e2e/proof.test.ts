import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, describe, expect, it } from "vitest";
import { configSchema } from "../../src/config/schema.ts";
import { loadIdentityKey } from "../../src/identity/key.ts";
import { createProof } from "../../src/identity/proof.ts";
import type { Relay } from "../../src/node/relay.ts";
import { createClient, createProofCheck, type SipError, serve } from "../../src/sdk/index.ts";
import { SipRequest } from "../../src/sip/message.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { serveApi } from "../console/serve-api.ts";
import { DOMAIN, openPortal, PASSWORD, USER } from "./portal.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

describe("what the relay publishes for those who check its signature (RFC 8224 §7.1)", () => {
  it("is its key set, with which a proof is checked, and its certificate", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tollgate-proof-"));
    closers.push(() => rm(folder, { recursive: true, force: true }));
    const identity = loadIdentityKey({ url: "https://portal.example" }, folder);
    const config = configSchema.parse({ http: { listen: "127.0.0.1:0", plain: true } });
    const relay = { identity, charging: {} as Relay["charging"], metrics: () => ({ counters: {}, gauges: {} }) };
    const api = await serveApi({ config, listen: config.http.listen!, relay, log: pino({ level: "silent" }) });
    closers.push(() => api.close());
    const at = (path: string) => `http://127.0.0.1:${api.port}${path}`;
    expect(await (await fetch(at("/identity/certificate.pem"))).text()).toBe(identity.pem);
    const request = new SipRequest("INVITE", "sip:192.0.2.7");
    request.headers.add("To", "<sip:wine@portal.example>");
    createProof({ signer: () => identity, clock: systemClock, random: systemRandom })(
      request,
      "sip:alice@portal.example",
    );
    const check = createProofCheck({ keys: at("/.well-known/jwks.json"), self: "sip:192.0.2.7" });
    const proven = { to: "sip:wine@portal.example", identities: request.headers.all("identity") };
    expect(await check(proven)).toEqual({ ok: true, user: "sip:alice@portal.example" });
  });
});

describe("an app server of the SDK that asks for proof (M10, RFC 8224)", () => {
  it("serves whom the relay sends, and refuses whoever comes by himself or with what he has seen", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tollgate-proof-"));
    closers.push(() => rm(folder, { recursive: true, force: true }));
    const identity = loadIdentityKey({ url: "https://portal.example" }, folder);
    const seen: { user: string | undefined; identity: string | undefined }[] = [];
    const shop = await serve({
      listen: { host: "127.0.0.1", port: 0 },
      proof: { keys: identity.jwks as never },
      services: {
        wine: async (request) => {
          seen.push({ user: request.user, identity: request.header("identity") });
          await request.accept();
        },
      },
    });
    closers.push(() => shop.close());
    const portal = await openPortal({
      config: {
        identity: { url: "https://portal.example", key: join(folder, "identity-key.pem") },
        services: [{ id: "wine" }],
        appServers: [{ id: "shop", uri: shop.uri, services: ["wine"] }],
      },
    });
    closers.push(() => portal.close());
    const clientOf = (relay: string) => {
      const client = createClient({ relay, user: USER, password: PASSWORD, domain: DOMAIN });
      closers.push(() => client.close());
      return client;
    };

    const session = await clientOf(portal.uri).request("wine");
    expect(seen).toMatchObject([{ user: `sip:${USER}@${DOMAIN}` }]);
    await session.end();

    const statusOf = (request: Promise<unknown>) => request.catch((error: SipError) => error.status);
    const direct = clientOf(shop.uri);
    expect(await statusOf(direct.request("wine"))).toBe(428);
    const replayed = { Identity: seen[0]!.identity!, "P-Asserted-Identity": `<sip:${USER}@${DOMAIN}>` };
    expect(await statusOf(direct.request("wine", { headers: replayed }))).toBe(403);
    const other = await serve({
      listen: { host: "127.0.0.2", port: 0 },
      proof: { keys: identity.jwks as never },
      services: { wine: (request) => request.accept() },
    });
    closers.push(() => other.close());
    expect(await statusOf(clientOf(other.uri).request("wine", { headers: replayed }))).toBe(438); // meant for the shop
    expect(seen).toHaveLength(1);
  });

  it("asks who the relay is where others than this machine can reach it", async () => {
    const listen = { host: "0.0.0.0", port: 0 };
    await expect(serve({ listen, advertised: "192.0.2.7", services: {} })).rejects.toThrow(/say who the relay is/);
  });
});
