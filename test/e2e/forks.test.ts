import { expect, it, onTestFinished } from "vitest";
import { openPortal, type Portal } from "./portal.ts";
import { UdpPeer } from "./udp-peer.ts";

/*
 * Two shops answer one INVITE, on real sockets (E 7, fig. 10). The client is a peer of our own: SIPp has one dialog to
 * a call, and SIP.js hangs up all but the first.
 */

it("makes a session of each of two answers, each with its own dialog, BYE and line on the bill (M25)", async () => {
  let portal: Portal | undefined;
  const relay = () => ({ address: "127.0.0.1", port: portal!.udp });
  const [client, north, south] = [await UdpPeer.open(relay), await UdpPeer.open(relay), await UdpPeer.open(relay)];
  portal = await openPortal({
    config: {
      services: [{ id: "books", fork: "all", tariff: "visit" }],
      tariffs: [{ id: "visit", currency: "EUR", setupFee: "0.50" }],
      appServers: [
        { id: "north", uri: north.uri, services: ["books"] },
        { id: "south", uri: south.uri, services: ["books"] },
      ],
    },
  });
  const opened = portal;
  onTestFinished(async () => {
    await opened.close();
    await Promise.all([client, north, south].map((peer) => peer.close()));
  });

  const invite = await client.call("books");
  const shops = await Promise.all(
    [north, south].map(async (shop) => ({ shop, invite: await shop.nextRequest("INVITE") })),
  );
  for (const { shop, invite } of shops) shop.answer(invite, 180, { tag: `tag-${shop.port}` });
  const ringing = [await client.nextResponse(180), await client.nextResponse(180)];
  const answers = [];
  for (const { shop, invite: asked } of shops) {
    shop.answer(asked, 200, { tag: `tag-${shop.port}`, body: shop.uri, type: "text/plain" });
    const answer = await client.nextResponse(200);
    expect(answer.body.toString()).toBe(shop.uri);
    client.ack(invite, answer);
    await shop.nextRequest("ACK");
    answers.push(answer);
  }
  expect(new Set(answers.map((answer) => answer.toTag)).size).toBe(2);
  expect(new Set(ringing.map((answer) => answer.toTag))).toEqual(new Set(answers.map((answer) => answer.toTag)));

  client.inDialog("BYE", invite, answers[0]!, 3);
  north.answer(await north.nextRequest("BYE"), 200);
  await client.nextResponse(200);
  expect(south.inbox).toEqual([]);
  client.inDialog("BYE", invite, answers[1]!, 3);
  south.answer(await south.nextRequest("BYE"), 200);
  await client.nextResponse(200);

  const bill = await portal.bill();
  const sessions = bill.services.flatMap((service) => service.sessions);
  expect(sessions.map(({ appServer, time }) => `${appServer}: ${time?.amount}`).sort()).toEqual([
    "north: 0.50",
    "south: 0.50",
  ]);
});
