import { expect, it, onTestFinished } from "vitest";
import { DOMAIN, openPortal, type Portal } from "./portal.ts";
import { UdpPeer } from "./udp-peer.ts";

it.each([
  [503, "less room than journal.minFreeDiskBytes", { minFreeDiskBytes: Number.MAX_SAFE_INTEGER }],
  [401, "room enough", { minFreeDiskBytes: 0 }],
])("answers %i to an INVITE where the disk has %s", async (status, _room, journal) => {
  let portal: Portal | undefined;
  const client = await UdpPeer.open(() => ({ address: "127.0.0.1", port: portal!.udp }));
  const opened = await openPortal({ config: { journal } });
  portal = opened;
  onTestFinished(async () => {
    await opened.close();
    await client.close();
  });
  const request = client.invite({ uri: `sip:wine@${DOMAIN}` });
  const answer = await client.nextResponse(status);
  client.ack(request, answer);
  expect(answer.headers.has("retry-after")).toBe(status === 503);
  const { gauges } = opened.relay.metrics();
  expect(gauges.journalFull).toBe(status === 503 ? 1 : 0);
  expect(gauges.journalFreeDiskBytes).toBeGreaterThan(0);
});
