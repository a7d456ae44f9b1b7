import { randomUUID } from "node:crypto";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { busSchema, type NatsSettings } from "../../src/bus/settings.ts";
import type { DirectRequest } from "../../src/charging/charges/direct.ts";
import { configSchema } from "../../src/config/schema.ts";
import { createChargeDesk } from "../../src/console/api.ts";
import { type ChargesResponder, serveChargesOnNats } from "../../src/console/charges-nats.ts";
import { bearerToken, newAppServerKey } from "../../src/directory/app-server-keys.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { silent } from "../charging/samples.ts";
import { type NatsServer, NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { describeUnless } from "../support/unless.ts";
import { until } from "../support/until.ts";

const available = process.env.NATS_URL !== undefined || natsProgram !== undefined;

describeUnless(available ? undefined : NO_NATS)("charges by NATS request (M17)", () => {
  const { key, secret } = newAppServerKey({
    appServer: "shop",
    portalRealm: "localhost",
    md5: false,
    now: 0,
    random: systemRandom,
  });
  const config = configSchema.parse({});
  let server: NatsServer | undefined;
  let settings: NatsSettings;
  let client: NatsConnection;
  let responders: ChargesResponder[];
  let charged: { by: number; appServer: string; request: DirectRequest }[];
  /** Resolves the charges of a relay; replaced where a test wants to hold them up. */
  let recorded: Promise<void>;

  beforeAll(async () => {
    if (!process.env.NATS_URL) server = await startNats();
  });
  afterAll(() => server?.destroy());

  beforeEach(async () => {
    const url = process.env.NATS_URL ?? server!.url;
    settings = busSchema.parse({ servers: url, prefix: `T${randomUUID().slice(0, 8)}` })!;
    client = await connect({ servers: url.replace("nats://", "") });
    charged = [];
    recorded = Promise.resolve();
    const starting = [1, 2].map((by) => {
      const direct = {
        charge: async (appServer: string, request: DirectRequest) => {
          charged.push({ by, appServer, request });
          await recorded;
          return { kind: "recorded" } as const;
        },
        refuse: async () => ({ kind: "refused", refusal: { kind: "unreadable", text: "no" } }) as const,
      };
      const charging = { direct, appServerKey: (id: string) => (id === key.id ? key : undefined) };
      const desk = createChargeDesk(config, { charging } as unknown as Parameters<typeof createChargeDesk>[1]);
      return serveChargesOnNats({ settings, desk, clock: systemClock, log: silent });
    });
    responders = await Promise.all(starting);
  });
  afterEach(async () => {
    for (const responder of responders) await responder.close();
    await client.close();
  });

  const body = (id: string) =>
    JSON.stringify({ session: "s1", charges: [{ id, item: "Book", unitPrice: "12.50", currency: "EUR" }] });

  async function ask(text: string, fields: Record<string, string>) {
    const given = headers();
    for (const [name, value] of Object.entries(fields)) given.set(name, value);
    return client.request(`${settings.prefix}.charges`, text, { timeout: 5_000, headers: given });
  }
  const signedIn = { Authorization: `Bearer ${bearerToken(key.id, secret)}` };

  it("are answered like POST /v1/charges, by one of the relays", async () => {
    for (let i = 0; i < 20; i++) {
      const reply = await ask(body(`c${i}`), signedIn);
      expect(reply.json()).toEqual({ session: "s1", charges: [`c${i}`] });
      expect(reply.headers!.has("Nats-Service-Error-Code")).toBe(false);
    }
    expect(charged.map(({ request }) => request.charges[0]!.id)).toEqual(Array.from({ length: 20 }, (_, i) => `c${i}`));
    expect(charged[0]).toMatchObject({ appServer: "shop", request: { session: "s1", channel: "direct" } });
  });

  it("say in a header and in a problem what is wrong (RFC 9457)", async () => {
    const stranger = await ask(body("c1"), { Authorization: "Bearer x.y" });
    expect(stranger.headers!.get("Nats-Service-Error-Code")).toBe("401");
    expect(stranger.json()).toMatchObject({ status: 401, type: "urn:tollgate:problem:unauthorized" });
    const bad = await ask("{", signedIn);
    expect(bad.json()).toMatchObject({ status: 400, detail: "body is not JSON" });
    const large = await ask("x".repeat(70_000), signedIn);
    expect(large.json()).toMatchObject({ status: 413 });
    expect(charged).toEqual([]);
  });

  it("that nobody waits for charge nobody", async () => {
    const given = headers();
    given.set("Authorization", signedIn.Authorization);
    client.publish(`${settings.prefix}.charges`, body("c1"), { headers: given });
    await client.flush();
    await ask(body("c2"), signedIn);
    expect(charged.map(({ request }) => request.charges[0]!.id)).toEqual(["c2"]);
  });

  it("under way when a relay stops are answered first", async () => {
    let release!: () => void;
    recorded = new Promise((resolve) => {
      release = resolve;
    });
    const reply = ask(body("c1"), signedIn);
    await until(() => charged.length > 0);
    const closed = responders[charged[0]!.by - 1]!.close();
    release();
    expect((await reply).json()).toEqual({ session: "s1", charges: ["c1"] });
    await closed;
    for (let i = 0; i < 5; i++) expect((await ask(body(`d${i}`), signedIn)).json()).toMatchObject({ session: "s1" });
  });
});
