import { describe, expect, it, onTestFinished } from "vitest";
import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import { DOMAIN, lines, USER } from "./portal.ts";
import { RelayChild } from "./relay-child.ts";
import { establish, UdpPeer } from "./udp-peer.ts";

async function open(drainS: number) {
  let port = 0;
  const relayAt = () => ({ address: "127.0.0.1", port });
  const [client, server] = [await UdpPeer.open(relayAt), await UdpPeer.open(relayAt)];
  const relay = await RelayChild.create(() => ({
    drainS,
    tariffs: [{ id: "visit", currency: "EUR", setupFee: "0.50" }],
    services: [{ id: "wine", tariff: "visit" }],
    appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
  }));
  onTestFinished(async () => {
    await relay.remove();
    await Promise.all([client.close(), server.close()]);
  });
  port = relay.port;
  return { relay, client, server, process: await relay.start() };
}

const CHARGE = JSON.stringify({ id: "1", item: "Riesling", unitPrice: "12.50", currency: "EUR" });

it("at SIGTERM takes no new sessions, and ends those that run with BYE to both sides when drainS is over", async () => {
  const { relay, client, server, process } = await open(0.7);
  const call = await establish(client, server, "wine");

  process.child.kill("SIGTERM");
  await process.says(/draining/);
  client.invite({ uri: `sip:wine@${DOMAIN}`, from: `<sip:${USER}@${DOMAIN}>` });
  const refusal = await client.nextResponse(503);
  expect(Number(refusal.headers.get("retry-after"))).toBeGreaterThan(0);

  // What runs goes on until then.
  const headers: [string, string][] = [["Info-Package", PACKAGE]];
  server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1, {
    headers,
    body: CHARGE,
    type: CHARGE_JSON,
  });
  await server.nextResponse(200);

  const byes = await Promise.all([client.nextRequest("BYE"), server.nextRequest("BYE")]);
  for (const bye of byes) expect(bye.headers.get("reason")).toContain("the relay stops");
  client.answer(byes[0], 200);
  server.answer(byes[1], 200);
  expect(await process.exit).toEqual({ code: 0, signal: null });
  expect(lines(await relay.bill())).toEqual([
    "wine, ended by relay: the relay stops: 0.50 EUR",
    "1 x Riesling by info: 12.50 EUR",
  ]);
});

it("at SIGTERM lets the last session end by itself, and then stops at once", async () => {
  const { relay, client, server, process } = await open(60);
  const call = await establish(client, server, "wine");
  process.child.kill("SIGTERM");
  await process.says(/draining/);
  client.inDialog("BYE", call.invite, call.answer, 2);
  server.answer(await server.nextRequest("BYE"), 200, { body: CHARGE, type: CHARGE_JSON });
  await client.nextResponse(200);
  expect(await process.exit).toEqual({ code: 0, signal: null });
  expect(lines(await relay.bill())).toEqual(["wine, ended by client: 0.50 EUR", "1 x Riesling by bye: 12.50 EUR"]);
});

it("at a second SIGTERM ends the sessions now", async () => {
  const { relay, client, server, process } = await open(60);
  await establish(client, server, "wine");
  process.child.kill("SIGTERM");
  await process.says(/draining/);
  process.child.kill("SIGTERM");
  client.answer(await client.nextRequest("BYE"), 200);
  server.answer(await server.nextRequest("BYE"), 200);
  expect(await process.exit).toEqual({ code: 0, signal: null });
  expect(lines(await relay.bill())).toEqual(["wine, ended by relay: the relay stops: 0.50 EUR"]);
});

it("at SIGTERM cancels what still rings when its time is over, and the client hears of it", async () => {
  const { client, server, process } = await open(0);
  const invite = await client.call("wine");
  const ringing = await server.nextRequest("INVITE");
  server.answer(ringing, 180);
  await client.nextResponse(180);
  process.child.kill("SIGTERM");
  server.answer(await server.nextRequest("CANCEL"), 200);
  server.answer(ringing, 487);
  client.ack(invite, await client.nextResponse(487));
  expect(await process.exit).toEqual({ code: 0, signal: null });
});

describe("at SIGTERM an app server that answers BYE late", () => {
  async function late() {
    const all = await open(0.1);
    const { client, server, process } = all;
    await establish(client, server, "wine");
    process.child.kill("SIGTERM");
    client.answer(await client.nextRequest("BYE"), 200);
    const bye = await server.nextRequest("BYE");
    await process.says(/waiting for answers to BYE/);
    return { ...all, bye };
  }
  const visit = "wine, ended by relay: stopped: 0.50 EUR";

  it("is waited for, and what it charges is on the bill (M16)", async () => {
    const { relay, server, process, bye } = await late();
    server.answer(bye, 200, { body: CHARGE, type: CHARGE_JSON });
    expect(await process.exit).toEqual({ code: 0, signal: null });
    expect(lines(await relay.bill())).toEqual([visit, "1 x Riesling by bye: 12.50 EUR"]);
  });

  it("is waited for no longer at a second SIGTERM, which the log says", async () => {
    const { relay, process } = await late();
    process.child.kill("SIGTERM");
    await process.says(/charges in an answer would be lost/);
    expect(await process.exit).toEqual({ code: 0, signal: null });
    expect(lines(await relay.bill())).toEqual([visit]);
  });
});

it("at SIGTERM stops within its time although nobody answers its BYEs, and the session is on the bill", async () => {
  const { relay, client, server, process } = await open(0);
  await establish(client, server, "wine");
  process.child.kill("SIGTERM");
  expect(await process.exit).toEqual({ code: 0, signal: null });
  expect(lines(await relay.bill())).toEqual(["wine, ended by relay: stopped: 0.50 EUR"]);
});
