import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { type AppSession, serve } from "../../src/sdk/index.ts";
import { DOMAIN, lines, openPortal, PASSWORD, type Portal, USER } from "../e2e/portal.ts";
import { certificateFolder } from "../support/certificates.ts";

/*
 * What web pages call with: JsSIP and SIP.js, each as it is by default, over WebSocket and secure WebSocket. Node has
 * neither WebSocket nor WebRTC: ws stands for the one, and for the other something that describes no media.
 */

const files = certificateFolder([`DNS:${DOMAIN}`, "IP:127.0.0.1"]);
const SDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";

/** A page's WebSocket: it says where the page is from, and believes the test's authority. */
class PageSocket extends WebSocket {
  constructor(url: string, protocols: string) {
    super(url, protocols, { ca: files.authority.cert, origin: "https://shop.example" });
  }
}

class NoMedia extends EventTarget {
  readonly iceGatheringState = "complete";
  readonly iceConnectionState = "connected";
  signalingState = "stable";
  localDescription: unknown = null;
  createOffer = async () => ({ type: "offer", sdp: SDP });
  setLocalDescription = async (description: unknown) => {
    this.localDescription = description;
    this.signalingState = "have-local-offer";
  };
  setRemoteDescription = async () => {
    this.signalingState = "stable";
  };
  getSenders = () => [];
  getReceivers = () => [];
  getTransceivers = () => [];
  addTrack = () => {};
  close = () => {
    this.signalingState = "closed";
  };
}

class NoStream {
  getTracks = () => [];
  getAudioTracks = () => [];
  getVideoTracks = () => [];
  addTrack = () => {};
}

const GLOBALS: Record<string, unknown> = {
  window: globalThis,
  WebSocket: PageSocket,
  RTCPeerConnection: NoMedia,
  RTCSessionDescription: class {
    constructor(description: object) {
      Object.assign(this, description);
    }
  },
  MediaStream: NoStream,
};
const before = new Map<string, PropertyDescriptor | undefined>();

beforeAll(() => {
  for (const [name, value] of Object.entries(GLOBALS)) {
    before.set(name, Object.getOwnPropertyDescriptor(globalThis, name));
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
});
afterAll(() => {
  for (const [name, descriptor] of before)
    if (descriptor) Object.defineProperty(globalThis, name, descriptor);
    else Reflect.deleteProperty(globalThis, name);
});

async function open() {
  let began!: (session: Promise<AppSession>) => void;
  const session = new Promise<AppSession>((resolve) => {
    began = resolve;
  });
  const shop = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    services: {
      wine: (request) => began(request.accept({ contentType: "application/sdp", body: SDP })),
    },
  });
  const portal = await openPortal({
    config: {
      listen: (["ws", "wss", "tcp"] as const).map((transport) => ({ transport, address: "127.0.0.1", port: 0 })),
      tls: { cert: files.cert, key: files.key },
      webSocket: { origins: ["https://shop.example"] },
      services: [{ id: "wine", limits: { charge: "100", currency: "EUR" } }],
      appServers: [{ id: "shop", uri: shop.uri, services: ["wine"] }],
    },
  });
  onTestFinished(async () => {
    await portal.close();
    await shop.close();
  });
  /** The app server charges, once the call is established. */
  const charged = async () => {
    await (await session).charge({ item: "Riesling", unitPrice: "12.50", currency: "EUR" });
  };
  return { portal, charged, ended: async () => (await (await session).ended).by };
}

const urlOf = ({ relay }: Portal, transport: string): string =>
  `${transport}://127.0.0.1:${relay.addresses.find((one) => one.transport === transport)!.port}`;

const BILL = ["wine, ended by client: 0", "1 x Riesling by info: 12.50 EUR"];

describe.each(["ws", "wss"])("over %s, signed in by MD5", (transport) => {
  it("JsSIP calls, is charged and hangs up (M9)", async () => {
    const { portal, charged, ended } = await open();
    const { default: JsSIP } = await import("jssip");
    const ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(urlOf(portal, transport))],
      uri: `sip:${USER}@${DOMAIN}`,
      password: PASSWORD,
    });
    const failed = new Promise<never>((_resolve, reject) => {
      ua.on(
        "newRTCSession",
        ({ session }: { session: { on(event: string, listener: (e: { cause?: string }) => void): void } }) =>
          session.on("failed", ({ cause }) => reject(new Error(`JsSIP: ${cause}`))),
      );
    });
    await new Promise<void>((resolve, reject) => {
      ua.on("registered", () => resolve());
      ua.on("registrationFailed", ({ cause }: { cause?: string }) => reject(new Error(`JsSIP: ${cause}`)));
      ua.start();
    });
    expect(portal.relay.registrations()).toMatchObject([{ user: USER, connected: true, regId: 1 }]);
    let answered!: (body: string) => void;
    const answer = new Promise<string>((resolve) => {
      answered = resolve;
    });
    const session = ua.call(`sip:wine@${DOMAIN}`, {
      mediaConstraints: { audio: false, video: false },
      eventHandlers: { accepted: ({ response }: { response: { body: string } }) => answered(response.body) },
    });
    expect(await Promise.race([answer, failed])).toBe(SDP);
    await new Promise<void>((resolve) => {
      if (session.isEstablished()) resolve();
      else session.on("confirmed", () => resolve());
    });
    await charged();
    session.terminate();
    expect(await ended()).toBe("remote");
    ua.stop();
    expect(lines(await portal.bill())).toEqual(BILL);
  });

  it("SIP.js calls, is charged and hangs up (M9)", async () => {
    const { portal, charged, ended } = await open();
    const { Inviter, Registerer, RegistererState, SessionState, UserAgent } = await import("sip.js");
    const ua = new UserAgent({
      uri: UserAgent.makeURI(`sip:${USER}@${DOMAIN}`)!,
      transportOptions: { server: urlOf(portal, transport) },
      authorizationUsername: USER,
      authorizationPassword: PASSWORD,
      logBuiltinEnabled: false,
    });
    await ua.start();
    const registerer = new Registerer(ua);
    const registered = new Promise<void>((resolve, reject) => {
      registerer.stateChange.addListener((state) => {
        if (state === RegistererState.Registered) resolve();
        else reject(new Error(`SIP.js: ${state}`));
      });
    });
    await registerer.register();
    await registered;
    expect(portal.relay.registrations()).toMatchObject([{ user: USER, connected: true }]);
    const inviter = new Inviter(ua, UserAgent.makeURI(`sip:wine@${DOMAIN}`)!, {
      sessionDescriptionHandlerOptions: { constraints: { audio: false, video: false } },
    });
    const established = new Promise<void>((resolve, reject) => {
      inviter.stateChange.addListener((state) => {
        if (state === SessionState.Established) resolve();
        if (state === SessionState.Terminated) reject(new Error("the call was refused"));
      });
    });
    await inviter.invite();
    await established;
    await charged();
    await inviter.bye();
    expect(await ended()).toBe("remote");
    await ua.stop();
    expect(lines(await portal.bill())).toEqual(BILL);
  });
});
