import { once } from "node:events";
import { describe, expect } from "vitest";
import { openPortal } from "../e2e/portal.ts";
import { UdpPeer } from "../e2e/udp-peer.ts";
import { peerTest } from "../support/peer-test.ts";
import { openSocket, plain, portIn, rtp, startRtpengine } from "../support/rtpengine.ts";

/** What Chromium offers for one audio track, shortened. */
const BROWSER = `v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2113937151 127.0.0.1 50000 typ host
a=ice-ufrag:F7gI
a=ice-pwd:x9cml/YzichV2+XlhiMu8g11
a=fingerprint:sha-256 D1:2C:BE:AD:C4:F6:64:5C:25:16:11:9C:AF:E7:0F:73:79:36:4E:9C:1E:15:54:39:0C:06:8B:ED:96:86:00:39
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtpmap:0 PCMU/8000
`.replaceAll("\n", "\r\n");

async function opened() {
  const engine = await startRtpengine();
  const shop = await UdpPeer.open(() => ({ address: "127.0.0.1", port: portal.udp }));
  const portal = await openPortal({
    config: {
      media: { rtpengines: [engine.address] },
      services: [{ id: "lesson" }],
      appServers: [{ id: "shop", uri: shop.uri, services: ["lesson"], media: "rtpengine" }],
    },
  });
  const alice = await UdpPeer.open(() => ({ address: "127.0.0.1", port: portal.udp }));
  const close = async () => {
    await portal.close();
    await alice.close();
    await shop.close();
    await engine.stop();
  };
  return { engine, portal, alice, shop, close };
}

describe("Debian's rtpengine-daemon, by ops/front/rtpengine.conf", () => {
  peerTest(
    "lets a browser talk to an app server with plain RTP, through re-INVITE to BYE",
    ["rtpengine"],
    30_000,
    async () => {
      const { engine, alice, shop, close } = await opened();
      try {
        const invite = await alice.call("lesson", { body: BROWSER });
        const asked = await shop.nextRequest("INVITE");
        const offer = asked.body.toString();
        expect(offer).toMatch(/^m=audio \d+ RTP\/AVP 111 0/m);
        for (const web of ["ice-ufrag", "fingerprint", "candidate", "rtcp-mux"])
          expect(offer).not.toContain(`a=${web}`);
        const said = shop.answer(asked, 200, { body: plain(40_000) });
        const answer = await alice.nextResponse(200);
        const forBrowser = answer.body.toString();
        expect(forBrowser).toMatch(/^m=audio \d+ UDP\/TLS\/RTP\/SAVPF 0/m);
        expect(forBrowser).toMatch(/a=setup:(passive|active)/);
        for (const web of ["ice-ufrag", "ice-pwd", "fingerprint:sha-256", "candidate", "rtcp-mux", "mid:0"])
          expect(forBrowser).toContain(`a=${web}`);
        alice.ack(invite, answer);
        await shop.nextRequest("ACK");
        // The app server offers: ICE, keys and port towards the browser are those of before.
        const again = shop.backInDialog("INVITE", asked, said, 1, { body: plain(40_010) });
        const atBrowser = await alice.nextRequest("INVITE");
        const line = (sdp: string, name: string) => new RegExp(`^a=${name}:.*$`, "m").exec(sdp)![0];
        for (const same of ["ice-ufrag", "fingerprint"])
          expect(line(atBrowser.body.toString(), same)).toBe(line(forBrowser, same));
        expect(atBrowser.body.toString()).toContain("a=setup:actpass"); // RFC 8829 §5.2.1
        expect(portIn(atBrowser.body.toString())).toBe(portIn(forBrowser));
        alice.answer(atBrowser, 200, { body: BROWSER.replace("actpass", "passive") });
        const back = await shop.nextResponse(200);
        expect(portIn(back.body.toString())).toBe(portIn(offer));
        shop.ack(again, back);
        alice.inDialog("BYE", invite, answer, 2);
        shop.answer(await shop.nextRequest("BYE"), 200);
        await alice.nextResponse(200);
        await engine.peer.says(/Deleting entire call|Closing call/);
      } finally {
        await close();
      }
    },
  );

  peerTest("carries the sound from one end to the other", ["rtpengine"], 30_000, async () => {
    const { alice, shop, close } = await opened();
    const [mouth, ear] = [await openSocket(), await openSocket()];
    try {
      const invite = await alice.call("lesson", { body: plain(mouth.address().port) });
      const asked = await shop.nextRequest("INVITE");
      shop.answer(asked, 200, { body: plain(ear.address().port) });
      const answer = await alice.nextResponse(200);
      alice.ack(invite, answer);
      await shop.nextRequest("ACK");
      const to = portIn(answer.body.toString());
      const heard = once(ear, "message") as Promise<[Buffer, { port: number }]>;
      const speaking = setInterval(() => mouth.send(rtp(++spoken), to, "127.0.0.1"), 20);
      let spoken = 0;
      const [packet, from] = await heard;
      clearInterval(speaking);
      expect(packet.subarray(12).equals(rtp(1).subarray(12))).toBe(true);
      expect(from.port).toBe(portIn(asked.body.toString())); // it comes from where the app server was told
    } finally {
      mouth.close();
      ear.close();
      await close();
    }
  });
});
