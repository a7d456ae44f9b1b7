import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { mongoKind, NO_MONGO, startMongo } from "../../support/mongo-server.ts";
import { NO_NATS, natsProgram, startNats } from "../../support/nats-server.ts";
import { freePort } from "../../support/peers.ts";
import { itUnless } from "../../support/unless.ts";
import { Terminal } from "../terminal.ts";

const terminals: Terminal[] = [];
const terminal = () => {
  const one = new Terminal();
  terminals.push(one);
  return one;
};
afterEach(() => {
  for (const one of terminals.splice(0)) one.remove();
});

/** `grade: what` of what the doctor says on one matter. */
async function asked(t: Terminal, id: string, args: readonly string[] = []) {
  const { code, out } = await t.tollgate(["doctor", "--json", ...args]);
  const { checks } = JSON.parse(out) as { checks: { id: string; findings: { grade: string; what: string }[] }[] };
  return { code, found: checks.find((one) => one.id === id)!.findings.map(({ grade, what }) => `${grade}: ${what}`) };
}

describe("tollgate doctor", () => {
  it("finds nothing that keeps a configuration of tollgate init from working, and makes no file", async () => {
    const t = terminal();
    const port = await freePort();
    await t.tollgate(["init", "--no-tls"]);
    t.write("tollgate.yaml", `listen: ['udp:127.0.0.1:${port}', 'tcp:127.0.0.1:${port}']\ndata: ./nothing`);
    const { code, out, err } = await t.tollgate(["doctor"]);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(`  ok      udp:127.0.0.1:${port} is free\n`);
    expect(out).toMatch(/\ntollgate.yaml: 0 problems, \d+ warnings?\n$/);
    await expect(import("node:fs/promises").then(({ stat }) => stat(join(t.folder, "nothing")))).rejects.toThrow(
      "ENOENT",
    );
  });

  it("says what is wrong and what to do, and exits with 1", async () => {
    const t = terminal();
    const server = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    t.write("tollgate.yaml", `listen: ['tcp:127.0.0.1:${port}']`);
    const { code, out } = await t.tollgate(["doctor"]);
    expect(code).toBe(1);
    expect(out).toContain(`  PROBLEM tcp:127.0.0.1:${port}: EADDRINUSE\n          another program has it: ss -lnptu`);
  });

  it("knows the relay that runs", async () => {
    const t = terminal();
    const port = await freePort();
    t.write("tollgate.yaml", `listen: ['tcp:127.0.0.1:${port}']\nlog: { level: warn, pretty: false }`);
    const relay = t.tollgate(["start"]);
    await expect
      .poll(async () => (await asked(t, "ports")).found, { timeout: 10_000 })
      .toEqual([`ok: tcp:127.0.0.1:${port} is taken, and the relay runs`]);
    t.signal("SIGTERM");
    await relay;
  });

  it("exits with 2 where the configuration cannot be read, or the command line", async () => {
    const t = terminal();
    t.write("tollgate.yaml", "listn: []");
    expect((await t.tollgate(["doctor"])).code).toBe(2);
    t.write("tollgate.yaml", "");
    expect((await t.tollgate(["doctor", "--timeout", "x"])).code).toBe(2);
  });

  it("names servers that are away", async () => {
    const t = terminal();
    const port = await freePort();
    t.write(
      "tollgate.yaml",
      `bus: nats://127.0.0.1:${port}\nstore: { url: 'mongodb://127.0.0.1:${port}/t', timeoutS: 0.5 }\nlisten: ['tcp:127.0.0.1:${port}']`,
    );
    const { code, found } = await asked(t, "bus");
    expect([code, found[0]]).toEqual([1, expect.stringMatching(/^problem: NATS at .*(refused|reached)/i)]);
    expect((await asked(t, "store")).found[0]).toMatch(/^problem: the store: .*127\.0\.0\.1/);
  });

  itUnless(natsProgram ? undefined : NO_NATS)("asks NATS, with and without JetStream", async () => {
    const t = terminal();
    const nats = await startNats();
    onTestFinished(() => nats.destroy());
    t.write("tollgate.yaml", `bus: ${nats.url}\nlisten: ['tcp:127.0.0.1:${await freePort()}']`);
    expect((await asked(t, "bus")).found[0]).toMatch(/^ok: NATS at .* answers, with JetStream/);
  });

  itUnless(mongoKind() === undefined ? NO_MONGO : undefined)(
    "asks MongoDB, also what time it is",
    async () => {
      const t = terminal();
      const mongo = await startMongo();
      onTestFinished(() => mongo.stop());
      t.write("tollgate.yaml", `store: ${mongo.url("doctor")}\nlisten: ['tcp:127.0.0.1:${await freePort()}']`);
      expect((await asked(t, "store")).found[0]).toBe("ok: MongoDB answers");
    },
    60_000,
  );
});
