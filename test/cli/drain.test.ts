import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createClient, serve } from "../../src/sdk/index.ts";
import { freePort } from "../support/peers.ts";
import { until } from "../support/until.ts";
import { Terminal } from "./terminal.ts";

let terminal: Terminal;
let port: number;
beforeEach(() => {
  terminal = new Terminal();
});
afterEach(() => terminal.remove());

const listening = () =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true));
    socket.once("error", () => resolve(false)).once("connect", () => socket.destroy());
  });

async function relayWith(appServer: string) {
  port = await freePort();
  const servers = appServer === "" ? "" : `appServers: [{ id: shop, uri: "${appServer}", services: [wine] }]\n`;
  terminal.write(
    "tollgate.yaml",
    `listen: ["tcp:127.0.0.1:${port}"]\nlog: { level: silent }\ndrainS: 3600\nservices: [{ id: wine }]\n${servers}`,
  );
  await terminal.tollgate(["user", "add", "alice"], { env: { TOLLGATE_PASSWORD: "secret" } });
  const relay = terminal.tollgate(["start"]);
  await until(listening);
  return { relay };
}

describe("tollgate drain (P3)", () => {
  it("stops a relay that has no sessions at once, however long drainS is", async () => {
    const { relay } = await relayWith("");
    const { code, out } = await terminal.tollgate(["drain"]);
    expect([code, out]).toEqual([0, expect.stringMatching(/^(draining: 0 sessions left\n)?the relay has stopped\n$/)]);
    expect((await relay).code).toBe(0);
    expect((await terminal.tollgate(["drain"])).err).toMatch(/^tollgate: no relay runs on /);
  });

  it("says how many sessions are left, and ends them when their time is over", { timeout: 20_000 }, async () => {
    const shop = await serve({
      listen: { host: "127.0.0.1", port: 0 },
      services: { wine: async (request) => void (await request.accept({ url: "https://shop.example/s" })) },
    });
    const { relay } = await relayWith(shop.uri);
    const address = { relay: `sip:127.0.0.1:${port};transport=tcp`, domain: "localhost" };
    const client = createClient({ ...address, user: "alice", password: "secret" });
    const session = await client.request("wine");
    const { code, out } = await terminal.tollgate(["drain", "--within", "1"]);
    expect([code, out.startsWith("draining: 1 session left\n"), out.endsWith("the relay has stopped\n")]).toEqual([
      ...[0, true, true],
    ]);
    expect((await session.ended).by).toBe("remote");
    expect((await relay).code).toBe(0);
    await client.close();
    await shop.close();
  });

  it.each(["", "-1", "soon", "86401"])("takes no %j for seconds, and drains nothing", async (text) => {
    const { code, err } = await terminal.tollgate(["drain", "--within", text]);
    expect([code, err]).toEqual([2, expect.stringContaining("It has to be seconds from 0 to 86400.")]);
  });
});
