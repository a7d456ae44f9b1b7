import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CallRecord } from "../../src/calls/record.ts";
import { askControl, controlPath } from "../../src/console/control.ts";
import { type AppServer, type Client, createClient, serve } from "../../src/sdk/index.ts";
import { freePort } from "../support/peers.ts";
import { until } from "../support/until.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
let server: AppServer;
let client: Client;
let relay: Promise<unknown>;

const tollgate = (...argv: string[]) => terminal.tollgate(argv);
const socketPath = () => controlPath(join(terminal.folder, "data"));

beforeEach(async () => {
  terminal = new Terminal();
  const [port, shop] = [await freePort(), await freePort()];
  terminal.write(
    "tollgate.yaml",
    `listen: ["tcp:127.0.0.1:${port}"]
health: { intervalS: 0 }
log: { level: silent }
drainS: 0
services: [{ id: wine }]
appServers: [{ id: shop, uri: "sip:127.0.0.1:${shop};transport=tcp", services: [wine] }]
`,
  );
  await terminal.tollgate(["user", "add", "alice", "--password-stdin"], { stdin: "correct horse\n" });
  relay = tollgate("start");
  await until(async () => (await askControl(socketPath(), "GET", "/v1/traces")).ok);
  server = await serve({
    listen: { host: "127.0.0.1", port: shop },
    services: {
      wine: async (request) => {
        const session = await request.accept({ url: "http://127.0.0.1/?token=5ec7e7" });
        await session.charge({ item: "Riesling", unitPrice: "12.50", quantity: 2, currency: "EUR" });
        await session.end();
      },
    },
  });
  client = createClient({
    relay: `sip:127.0.0.1:${port};transport=tcp`,
    domain: "localhost",
    user: "alice",
    password: "correct horse",
  });
});
afterEach(async () => {
  await client.close();
  await server.close();
  terminal.signal("SIGTERM");
  await relay;
  terminal.remove();
});

const visit = async () => (await client.request("wine")).ended;
const ended = async () => JSON.parse((await tollgate("calls", "--json")).out) as CallRecord[];

describe("a call on a running relay (P5)", () => {
  it("is listed and shown with its messages, its charts and its charges", { timeout: 20_000 }, async () => {
    await visit();
    await until(async () => (await ended()).some(({ endedBy }) => endedBy !== undefined));
    const [record] = await ended();
    expect(record).toMatchObject({ user: "alice", service: "wine", status: 200, endedBy: "server", cost: "25.00 EUR" });
    await until(async () => (await tollgate("call", record!.callId)).out.includes("on the bill"));
    const { out } = await tollgate("call", record!.id.slice(0, 8));
    for (const arrow of ["client -> relay", "relay -> client", "relay -> shop", "shop -> relay"])
      expect(out).toContain(arrow);
    expect(out).toContain("INVITE sip:wine@localhost (signed)");
    expect(out).toContain("authenticating -> identifying");
    expect(out).toMatch(/Riesling x 2 +25\.00 EUR/);
  });

  it("is watched from its first message on, without its secrets", { timeout: 20_000 }, async () => {
    let text = "";
    const watched = terminal.tollgate(["watch", "--user", "alice", "--json", "--full"], {}, (piece) => {
      text += piece;
    });
    const lines = () =>
      text
        .trim()
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as { kind: string; text: string });
    await until(() => text.includes("watching"));
    await visit();
    await until(() => lines().some(({ kind }) => kind === "end"));
    terminal.signal("SIGINT");
    await watched;
    expect(lines()[0]!.text).toContain("INVITE sip:wine@localhost");
    expect(new Set(lines().map(({ kind }) => kind))).toEqual(new Set(["message", "state", "charge", "end"]));
    expect(text).not.toContain("5ec7e7");
    expect(text).not.toMatch(/response=\\"[0-9a-f]/);
  });

  it("is traced: as text, as a capture, and to a Homer", { timeout: 20_000 }, async () => {
    const homer = createSocket("udp4").bind(0, "127.0.0.1");
    await once(homer, "listening");
    const packets: Buffer[] = [];
    homer.on("message", (packet) => packets.push(packet));
    const to = `127.0.0.1:${(homer.address() as AddressInfo).port}`;
    expect((await tollgate("trace", "start", "why", "--user", "alice", "--hep", to)).code).toBe(0);
    await visit();
    await until(async () => (await ended()).some(({ endedBy }) => endedBy !== undefined));
    expect((await tollgate("trace", "list")).out).toMatch(/why +user alice .* 1 +\d+ +runs/);
    expect((await tollgate("trace", "stop", "why")).code).toBe(0);
    const { out } = await tollgate("trace", "export", "why");
    expect(out).toContain("Authorization: Digest username=");
    expect(out).not.toContain("5ec7e7");
    expect((await tollgate("trace", "export", "why", "--format", "pcap", "--to", "why.pcap")).code).toBe(0);
    expect(readFileSync(join(terminal.folder, "why.pcap")).readUInt32LE(0)).toBe(0xa1b2c3d4);
    await until(() => packets.length > 5);
    for (const packet of packets) expect(packet.toString("latin1", 0, 4)).toBe("HEP3");
    homer.close();
    expect((await tollgate("trace", "export", "nothing")).err).toContain("there is no trace nothing");
  });
});
