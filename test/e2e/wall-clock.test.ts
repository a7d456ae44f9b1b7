import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import { until } from "../support/until.ts";
import { lines } from "./portal.ts";
import { RelayChild } from "./relay-child.ts";
import { establish, UdpPeer } from "./udp-peer.ts";

/*
 * The whole relay, while somebody sets the wall clock of its machine (decision 16). A minute of real time is more than
 * any of these takes; the clock is set by more.
 */

const HOUR_MS = 3_600_000;
const MOST_MS = 60_000;

/** A module by which SIGUSR2 sets what the process takes for the wall clock. */
const settable = (byMs: number) =>
  `data:text/javascript,${encodeURIComponent(
    `const real = Date.now; let by = 0; Date.now = () => real() + by;
     process.on("SIGUSR2", () => { by += ${byMs}; });`,
  )}`;

async function open(byMs: number) {
  let port = 0;
  const relayAt = () => ({ address: "127.0.0.1", port });
  const [client, server] = [await UdpPeer.open(relayAt), await UdpPeer.open(relayAt)];
  const relay = await RelayChild.create(() => ({
    drainS: 60,
    recovery: "end", // those that go on: test/e2e/goes-on.test.ts
    tariffs: [{ id: "minutes", currency: "EUR", price: "0.10", incrementS: 60 }],
    services: [{ id: "wine", tariff: "minutes" }],
    appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
  }));
  relay.imports = [settable(byMs)];
  onTestFinished(async () => {
    await relay.remove();
    await Promise.all([client.close(), server.close()]);
  });
  port = relay.port;
  const process = await relay.start();
  /** Resolves when the relay has noticed. */
  const setWall = async () => {
    process.child.kill("SIGUSR2");
    await process.says(/the wall clock was set/);
  };
  return { relay, client, server, process, setWall };
}

const CHARGE = JSON.stringify({ charges: [{ id: "1", item: "cork", unitPrice: "0.50", currency: "EUR" }] });

it.each([-HOUR_MS, HOUR_MS, 48 * HOUR_MS])(
  "set by %i ms, bills and drains as if nobody had",
  async (byMs) => {
    const { relay, client, server, process, setWall } = await open(byMs);
    const call = await establish(client, server, "wine");
    await setWall();
    server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1, {
      headers: [["Info-Package", PACKAGE]],
      body: CHARGE,
      type: CHARGE_JSON,
    });
    await server.nextResponse(200);
    process.child.kill("SIGTERM");
    await process.says(/draining/);
    process.child.kill("SIGUSR2");
    client.inDialog("BYE", call.invite, call.answer, 2);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    expect(await process.exit).toEqual({ code: 0, signal: null });
    expect(lines(await relay.bill())).toEqual(["wine, ended by client: 0.10 EUR", "1 x cork by info: 0.50 EUR"]);
  },
  30_000,
);

it.each([-2 * MOST_MS, 2 * MOST_MS])(
  "set by %i ms, and then killed, bills what passed, in whole milliseconds (P4)",
  async (byMs) => {
    const { relay, client, server, process, setWall } = await open(byMs);
    await establish(client, server, "wine");
    await setWall();
    await establish(client, server, "wine");
    const alive = join(relay.folder, "data/alive");
    const beat = statSync(alive).mtimeMs;
    await until(() => statSync(alive).mtimeMs !== beat);
    process.child.kill("SIGKILL");
    await process.exit;
    relay.imports = [];
    const next = await relay.start();
    next.child.kill("SIGTERM");
    await next.exit;
    const sessions = (await relay.bill()).services.flatMap(({ sessions }) => sessions);
    const durations = sessions.map(({ time }) => time?.durationMs ?? -1);
    expect(durations).toHaveLength(2);
    for (const durationMs of durations) {
      expect(Number.isInteger(durationMs)).toBe(true);
      expect(durationMs).toBeGreaterThan(0);
      expect(durationMs).toBeLessThan(MOST_MS);
    }
  },
  30_000,
);
