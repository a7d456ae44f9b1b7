import { describe, expect, it, onTestFinished } from "vitest";
import { DOMAIN, openPortal, PASSWORD, USER } from "../e2e/portal.ts";
import { UdpPeer } from "../e2e/udp-peer.ts";
import { chromiumProgram, FAKE_MICROPHONE, NO_CHROMIUM } from "../support/chromium.ts";
import { isInstalled } from "../support/peers.ts";
import { openSocket, plain, portIn, rtp, startRtpengine } from "../support/rtpengine.ts";
import { until } from "../support/until.ts";
import { openPage, SIP_JS } from "./page.ts";

/*
 * A page in Chromium speaks with an app server that knows nothing of WebRTC: DTLS-SRTP and ICE end at rtpengine, and
 * the app server has plain RTP. The sound itself goes both ways.
 */

const PAGE = `
  import * as SIP from "sip.js";
  ${SIP_JS}
  window.call = async (values) => {
    const ua = await agentOf(values);
    const inviter = await callTo(ua, "sip:lesson@" + values.domain);
    const pc = inviter.sessionDescriptionHandler.peerConnection;
    // Sound is only decoded where somebody listens.
    const audio = new Audio();
    audio.srcObject = new MediaStream(pc.getReceivers().map(({ track }) => track));
    audio.play();
    window.heard = async () => {
      const all = [...(await pc.getStats()).values()];
      const { packetsReceived = 0, totalAudioEnergy = 0, codecId } = all.find(({ type }) => type === "inbound-rtp") ?? {};
      const { mimeType } = all.find(({ id }) => id === codecId) ?? {};
      return { packetsReceived, totalAudioEnergy, mimeType, state: pc.connectionState };
    };
    window.hangUp = async () => {
      await inviter.bye();
      await ua.stop();
    };
  };
`;

interface Scripts {
  call(values: object): Promise<void>;
  heard(): Promise<{ packetsReceived: number; totalAudioEnergy: number; mimeType?: string; state: string }>;
  hangUp(): Promise<void>;
}

describe("a browser and an app server with plain RTP (M9)", () => {
  it("hear each other through rtpengine: the microphone's sound arrives as RTP, and the app server's in the page", {
    timeout: 60_000,
  }, async ({ skip }) => {
    skip(chromiumProgram === undefined, NO_CHROMIUM);
    skip(!isInstalled("rtpengine"), "rtpengine is not installed (Debian: apt-get install rtpengine-daemon)");
    const engine = await startRtpengine();
    onTestFinished(() => engine.stop());
    const page = await openPage(PAGE, { switches: [...FAKE_MICROPHONE, "--autoplay-policy=no-user-gesture-required"] });
    const shop = await UdpPeer.open(() => ({ address: "127.0.0.1", port: portal.udp }));
    const portal = await openPortal({
      config: {
        listen: ["udp:127.0.0.1:0", "ws:127.0.0.1:0"],
        webSocket: { origins: [new URL(page.url()).origin] },
        media: { rtpengines: [engine.address] },
        services: [{ id: "lesson" }],
        appServers: [{ id: "shop", uri: shop.uri, services: ["lesson"], media: "rtpengine" }],
      },
    });
    const ear = await openSocket();
    onTestFinished(async () => {
      ear.close();
      await portal.close();
      await shop.close();
    });
    const heard: Buffer[] = [];
    ear.on("message", (packet) => void heard.push(packet));

    const url = `ws://127.0.0.1:${portal.relay.addresses.find(({ transport }) => transport === "ws")!.port}`;
    const asked = { url, user: USER, domain: DOMAIN, password: PASSWORD };
    const called = page.evaluate((values) => (globalThis as never as Scripts).call(values), asked);
    called.catch(() => {}); // it is awaited below
    const invite = await shop.nextRequest("INVITE");
    const offer = String(invite.body);
    expect(offer).toMatch(/^m=audio \d+ RTP\/AVP /m);
    shop.answer(invite, 200, { body: plain(ear.address().port) });
    await called;
    await shop.nextRequest("ACK");

    let sequence = 0;
    const speaking = setInterval(() => ear.send(rtp(++sequence), portIn(offer), "127.0.0.1"), 20);
    onTestFinished(() => clearInterval(speaking));
    const inPage = () => page.evaluate(() => (globalThis as never as Scripts).heard());
    await until(async () => heard.length >= 100 && (await inPage()).packetsReceived >= 100, 20_000);
    const { totalAudioEnergy, mimeType, state } = await inPage();
    expect([state, mimeType]).toEqual(["connected", "audio/PCMU"]);
    expect(totalAudioEnergy).toBeGreaterThan(0.1); // a tone, not silence
    for (const packet of heard) expect([packet[0]! >> 6, packet[1]! & 0x7f, packet.length]).toEqual([2, 0, 172]);
    expect(new Set(heard.map((packet) => packet.readUInt32BE(8))).size).toBe(1); // one source
    const loud = heard.filter((packet) => new Set(packet.subarray(12)).size > 8);
    expect(loud.length).toBeGreaterThan(5); // the beep of the microphone

    clearInterval(speaking);
    await page.evaluate(() => (globalThis as never as Scripts).hangUp());
    await engine.peer.says(/Deleting entire call|Closing call/);
  });
});
