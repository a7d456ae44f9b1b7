import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { createClient, serve } from "../../src/sdk/index.ts";
import { startRelayProcess } from "../support/relay-process.ts";
import { PORTAL } from "../support/sipp.ts";
import { lines } from "./portal.ts";

it("a copy made while the relay works has every bill, and goes back in the place of the data (P4)", async () => {
  const server = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    proof: false,
    services: {
      wine: async (request) => {
        const session = await request.accept();
        await session.charge({ item: "Riesling", unitPrice: "12.50", quantity: 1, currency: "EUR" });
        await session.end();
      },
    },
  });
  onTestFinished(() => server.close());
  const port = Number(/:(\d+)(?:;|$)/.exec(server.uri)?.[1]);
  const relay = await startRelayProcess({
    appServers: [{ id: "winery", port, transport: "tcp", services: ["wine"] }],
    config: { services: [{ id: "wine" }] },
  });
  onTestFinished(() => relay.remove());
  const client = createClient({
    relay: `sip:127.0.0.1:${relay.port};transport=tcp`,
    user: "alice",
    password: "secret",
    domain: PORTAL,
  });
  onTestFinished(() => client.close());
  const call = async () => (await client.request("wine")).ended;
  const bill = async () => lines(JSON.parse(await relay.command(["bill", "alice", "--json"])) as Bill);
  await call();
  await expect.poll(bill, { timeout: 20_000 }).toHaveLength(2);
  const copy = join(relay.folder, "copy");
  const made = relay.command(["backup", copy]);
  for (let i = 0; i < 20; i++) await call();
  expect(await made).toContain("journal, store");
  expect(statSync(join(copy, "store", "data.mdb")).mode & 0o077).toBe(0);
  expect(await relay.command(["audit"])).toMatch(/backup.*done/);
  await expect(relay.command(["backup", copy])).rejects.toThrow("not empty");
  await expect(relay.command(["restore", copy])).rejects.toThrow("stop it first");
  const all = lines(await relay.billAfterStop("alice"));
  expect(all.length).toBe(42);

  expect(await relay.command(["restore", copy])).toContain("before-restore");
  expect(await relay.command(["audit"])).toMatch(/restore.*done/);
  const restored = await bill();
  expect(restored.length).toBeGreaterThanOrEqual(2);
  expect(all).toEqual(expect.arrayContaining(restored));
  await expect(relay.command(["restore", join(relay.folder, "nowhere")])).rejects.toThrow("is no copy");
  expect(existsSync(join(relay.folder, "data.before-restore"))).toBe(true);
}, 60_000);
