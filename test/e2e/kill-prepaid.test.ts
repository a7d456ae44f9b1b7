import { expect, it, onTestFinished } from "vitest";
import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import { RelayChild } from "./relay-child.ts";
import { establish, UdpPeer } from "./udp-peer.ts";

it("a prepaid session whose relay is killed takes what it cost out of the balance, once, and the rest of its hold comes back (P2, P4)", async () => {
  let port = 0;
  const relayAt = () => ({ address: "127.0.0.1", port });
  const [client, server] = [await UdpPeer.open(relayAt), await UdpPeer.open(relayAt)];
  const relay = await RelayChild.create(() => ({
    tariffs: [{ id: "visit", currency: "EUR", setupFee: "2.00" }],
    services: [{ id: "wine", tariff: "visit" }],
    appServers: [{ id: "winery", uri: server.uri, services: ["wine"] }],
    credit: { reserveCharges: "5" },
    recovery: "end",
  }));
  onTestFinished(async () => {
    await relay.remove();
    await Promise.all([client.close(), server.close()]);
  });
  port = relay.port;
  const balance = async () => JSON.parse(await relay.command(["credit", "show", "alice", "--json"])) as object;
  await relay.command(["credit", "open", "alice", "--currency", "EUR"]);
  await relay.command(["credit", "topup", "alice", "20.00", "--id", "first"]);

  await relay.start();
  const { inviteAtServer, answerOfServer } = await establish(client, server, "wine");
  server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, {
    headers: [["Info-Package", PACKAGE]],
    body: JSON.stringify({ charges: [{ id: "1", item: "cork", unitPrice: "0.50", currency: "EUR" }] }),
    type: CHARGE_JSON,
  });
  await server.nextResponse(200);
  expect(await balance()).toMatchObject({ balance: "20.00", available: "13.00", held: [{ amount: "7.00" }] });

  await relay.kill();
  await relay.start(); // ends the session and bills it before it takes calls
  const paid = { balance: "17.50", available: "17.50", held: [] };
  expect(await balance()).toMatchObject(paid);
  await relay.kill();
  const process = await relay.start();
  process.child.kill("SIGTERM");
  await process.exit;
  expect(await balance()).toMatchObject(paid);
  const bill = await relay.bill();
  expect(bill.totals).toMatchObject([{ currency: "EUR", amount: "2.50" }]);
}, 20_000);
