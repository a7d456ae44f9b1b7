import type { Page } from "playwright-core";
import { describe, expect, it, onTestFinished } from "vitest";
import { type AppSession, type ServiceRequest, serve } from "../../src/sdk/index.ts";
import { DOMAIN, lines, openPortal, PASSWORD, USER } from "../e2e/portal.ts";
import { certificateFolder } from "../support/certificates.ts";
import { chromiumProgram, NO_CHROMIUM } from "../support/chromium.ts";
import { openPage, SIP_JS } from "./page.ts";

/*
 * JsSIP and SIP.js as pages use them: in Chromium, by its own secure WebSocket and its own WebRTC, each as it is by
 * default. The app server answers with what a second peer connection of the page says, so that the media do come about.
 */

const files = certificateFolder([`DNS:${DOMAIN}`, "IP:127.0.0.1"]);

/** The libraries for the page, and the other end of its media. */
const PAGE = `
  import JsSIP from "jssip";
  import * as SIP from "sip.js";
  ${SIP_JS}
  const tone = () => new AudioContext().createMediaStreamDestination().stream;
  // There is no microphone here.
  navigator.mediaDevices.getUserMedia = async () => tone();
  const complete = (pc) => new Promise((resolve) => {
    const look = () => pc.iceGatheringState === "complete" && resolve();
    pc.addEventListener("icegatheringstatechange", look);
    look();
  });
  window.answerTo = async (sdp) => {
    const pc = new RTCPeerConnection();
    await pc.setRemoteDescription({ type: "offer", sdp });
    for (const track of tone().getTracks()) pc.addTrack(track);
    await pc.setLocalDescription(await pc.createAnswer());
    await complete(pc);
    window.far = pc;
    return pc.localDescription.sdp;
  };
  const connected = () => new Promise((resolve) => {
    const look = () => window.far.connectionState === "connected" && resolve();
    window.far.addEventListener("connectionstatechange", look);
    look();
  });
  window.jssip = ({ url, user, domain, password }) => new Promise((resolve, reject) => {
    const ua = new JsSIP.UA({ sockets: [new JsSIP.WebSocketInterface(url)], uri: "sip:" + user + "@" + domain, password });
    const fail = ({ cause }) => reject(new Error("JsSIP: " + cause));
    ua.on("registrationFailed", fail);
    ua.on("registered", () => {
      const session = ua.call("sip:wine@" + domain, {
        mediaConstraints: { audio: true, video: false },
        eventHandlers: { failed: fail, confirmed: () => connected().then(resolve) },
      });
      window.hangUp = async () => {
        session.terminate();
        ua.stop();
      };
    });
    ua.start();
  });
  window.sipjs = async (values) => {
    const ua = await agentOf(values);
    const registerer = new SIP.Registerer(ua);
    await new Promise((resolve, reject) => {
      registerer.stateChange.addListener((state) =>
        state === "Registered" ? resolve() : reject(new Error("SIP.js: " + state)));
      registerer.register();
    });
    const inviter = await callTo(ua, "sip:wine@" + values.domain);
    await connected();
    window.hangUp = async () => {
      await inviter.bye();
      await registerer.unregister();
      await ua.stop();
    };
  };
`;

type Name = "jssip" | "sipjs";
/** What the page's script has put there. */
type Scripts = Record<Name, (values: object) => Promise<void>> & {
  answerTo(sdp: string): Promise<string>;
  hangUp(): Promise<void>;
};

async function accept(request: ServiceRequest, page: Page): Promise<AppSession> {
  const offer = request.description?.content ?? "";
  const body = await page.evaluate((sdp) => (globalThis as never as Scripts).answerTo(sdp), offer);
  return request.accept({ contentType: "application/sdp", body });
}

describe("in Chromium, by secure WebSocket and with media of WebRTC (RFC 7118)", () => {
  it.for<[string, Name]>([
    ["JsSIP", "jssip"],
    ["SIP.js", "sipjs"],
  ])("%s registers, calls, is charged and hangs up (M9)", { timeout: 60_000 }, async ([, name], { skip }) => {
    skip(chromiumProgram === undefined, NO_CHROMIUM);
    const page = await openPage(PAGE);
    let began!: (session: Promise<AppSession>) => void;
    const session = new Promise<AppSession>((resolve) => {
      began = resolve;
    });
    const shop = await serve({
      listen: { host: "127.0.0.1", port: 0 },
      services: { wine: (request) => began(accept(request, page)) },
    });
    const portal = await openPortal({
      config: {
        listen: ["wss:127.0.0.1:0"],
        tls: { cert: files.cert, key: files.key },
        webSocket: { origins: [new URL(page.url()).origin] },
        services: [{ id: "wine", limits: { charge: "100", currency: "EUR" } }],
        appServers: [{ id: "shop", uri: shop.uri, services: ["wine"] }],
      },
    });
    onTestFinished(async () => {
      await portal.close();
      await shop.close();
    });
    const url = `wss://127.0.0.1:${portal.relay.addresses.find(({ transport }) => transport === "wss")!.port}`;
    const asked = { url, user: USER, domain: DOMAIN, password: PASSWORD };
    await page.evaluate(([what, values]) => (globalThis as never as Scripts)[what](values), [name, asked] as const);
    expect(portal.relay.registrations()).toMatchObject([{ user: USER, connected: true }]);
    const mine = await session;
    await mine.charge({ item: "Riesling", unitPrice: "12.50", currency: "EUR" });
    await page.evaluate(() => (globalThis as never as Scripts).hangUp());
    expect((await mine.ended).by).toBe("remote");
    expect(lines(await portal.bill())).toEqual(["wine, ended by client: 0", "1 x Riesling by info: 12.50 EUR"]);
  });
});
