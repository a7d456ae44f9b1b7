import { expect, it, onTestFinished, vi } from "vitest";
import { attributesOf, otlpReceiver, type ReceivedSpan } from "../telemetry/receiver.ts";
import { webhook } from "../usage/endpoints.ts";
import { fileWith } from "../usage/lab.ts";
import { openPortal, type Portal } from "./portal.ts";
import { establish, UdpPeer } from "./udp-peer.ts";

const SECRET = `whsec_${Buffer.alloc(32, 5).toString("base64")}`;
const WAIT = { timeout: 10_000, interval: 20 };

it("tells a receiver of traces what became of a call, and webhooks which trace it is", async () => {
  const spans: ReceivedSpan[] = [];
  const receiver = await otlpReceiver(spans).start();
  onTestFinished(() => receiver.stop());
  const endpoint = await webhook(SECRET, Date.now).start();
  onTestFinished(() => endpoint.stop());
  let portal: Portal | undefined;
  const relay = () => ({ address: "127.0.0.1", port: portal!.udp });
  const [client, shop] = [await UdpPeer.open(relay), await UdpPeer.open(relay)];
  portal = await openPortal({
    config: {
      services: [{ id: "wine" }],
      appServers: [{ id: "shop", uri: shop.uri, services: ["wine"] }],
      telemetry: { otlp: receiver.url, everyS: 0.1 },
      usage: [{ preset: "cloudevents", url: endpoint.url, secretFile: fileWith(SECRET) }],
    },
  });
  const { relay: opened, close } = portal;
  onTestFinished(async () => {
    await close();
    await Promise.all([client.close(), shop.close()]);
  });
  const { invite, answer, inviteAtServer } = await establish(client, shop, "wine");
  client.inDialog("BYE", invite, answer, 3);
  shop.answer(await shop.nextRequest("BYE"), 200);
  await client.nextResponse(200);
  await vi.waitFor(() => expect(spans.map(({ kind }) => kind).sort()).toEqual([1, 2, 3]), WAIT);
  expect(receiver.complaints).toEqual([]);
  const of = (kind: number) => spans.find((span) => span.kind === kind)!;
  const [session, request, asked] = [of(1), of(2), of(3)];
  expect(attributesOf(request)).toMatchObject({ "sip.call_id": invite.callId, "user.id": "alice" });
  expect(attributesOf(asked)["sip.call_id"]).toBe(inviteAtServer.callId);
  expect(session.parentSpanId).toBe(request.spanId);

  await vi.waitFor(() => expect(endpoint.taken).toHaveLength(2), WAIT);
  for (const { headers } of endpoint.given)
    expect(headers.traceparent).toBe(`00-${request.traceId}-${session.spanId}-01`);
  // The answer to what was sent may still be on its way.
  await vi.waitFor(() => expect(opened.metrics().counters).toMatchObject({ spansSent: 3, spansDropped: 0 }), WAIT);
  expect(opened.metrics().gauges).toMatchObject({ spansWaiting: 0 });
});
