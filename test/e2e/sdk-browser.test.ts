import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { WebSocket } from "ws";
import { createClient } from "../../src/sdk/browser.ts";
import { type AppSession, type ServiceRequest, serve } from "../../src/sdk/index.ts";
import { authority, certificateFolder } from "../support/certificates.ts";
import { DOMAIN, lines, openPortal, PASSWORD, USER } from "./portal.ts";

const ca = authority();
const files = certificateFolder([`DNS:${DOMAIN}`, "IP:127.0.0.1"], ca);

/** All sockets that the client has opened. */
let sockets: WebSocket[] = [];

// Node has no WebSocket of its own before version 22. This one has the browser's interface.
beforeEach(() => {
  sockets = [];
  vi.stubGlobal(
    "WebSocket",
    class extends WebSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol, { ca: ca.cert });
        this.on("error", () => {}); // a browser's has no such event that must be listened to
        sockets.push(this);
      }
    },
  );
});
afterEach(() => void vi.unstubAllGlobals());

async function open(transport: "ws" | "wss", more: object = {}) {
  const sessions: AppSession[] = [];
  const serveOne = async (request: ServiceRequest) => {
    sessions.push(await request.accept({ url: `https://shop.example/${request.service}` }));
  };
  const shop = await serve({
    listen: { host: "127.0.0.1", port: 0 },
    services: { wine: serveOne, beer: serveOne, tea: (request) => request.refuse(486) },
  });
  const portal = await openPortal({
    config: {
      listen: [`${transport}:127.0.0.1:0`],
      tls: { cert: files.cert, key: files.key, ca: files.ca },
      services: [{ id: "wine", limits: { charge: "100", currency: "EUR" } }, { id: "beer" }, { id: "tea" }],
      appServers: [{ id: "shop", uri: shop.uri, services: ["wine", "beer", "tea"] }],
      ...more,
    },
  });
  onTestFinished(async () => {
    await portal.close();
    await shop.close();
  });
  const { port } = portal.relay.addresses[0]!;
  const clientWith = (password: string) => {
    const relay = `${transport}://127.0.0.1:${port}`;
    const client = createClient({ relay, user: USER, password, domain: DOMAIN });
    onTestFinished(() => client.close());
    return client;
  };
  return { portal, sessions, clientWith };
}

describe("tollgate/client, for pages (M2, M9)", () => {
  it.each(["ws", "wss"] as const)("opens a service over %s, changes it, moves on, and hangs up", async (transport) => {
    const { portal, sessions, clientWith } = await open(transport);
    const client = clientWith(PASSWORD);
    const said: number[] = [];
    const mine = await client.request("wine", { onProgress: (status) => said.push(status) });
    expect(mine.access).toBe("https://shop.example/wine");
    await vi.waitFor(() => expect(sessions).toHaveLength(1));
    await sessions[0]!.charge({ item: "Riesling", unitPrice: "12.50", currency: "EUR" });
    const second = await mine.move("beer", { keep: true });
    expect(second.access).toBe("https://shop.example/beer");
    await second.end();
    await mine.change("beer");
    expect(mine.service).toBe("beer");
    expect((await mine.end()).status).toBe(200);
    expect(sockets).toHaveLength(1);
    expect(lines(await portal.bill())).toEqual(
      expect.arrayContaining(["1 x Riesling by info: 12.50 EUR", "beer, ended by client: 0"]),
    );
  });

  it("says why it gets no session", async () => {
    const { clientWith } = await open("ws");
    await expect(clientWith("guessed").request("wine")).rejects.toMatchObject({ status: 401 });
    await expect(clientWith(PASSWORD).request("tea")).rejects.toMatchObject({ status: 486 });
    const nobody = createClient({ relay: "ws://127.0.0.1:9", user: USER, password: PASSWORD, domain: DOMAIN });
    await expect(nobody.request("wine")).rejects.toMatchObject({
      status: 503,
      message: expect.stringContaining("cannot connect to ws://127.0.0.1:9/"),
    });
  });

  it("comes back after its connection was lost, and the session goes on", async () => {
    const { sessions, clientWith } = await open("ws");
    const mine = await clientWith(PASSWORD).request("wine");
    await vi.waitFor(() => expect(sessions).toHaveLength(1));
    sockets[0]!.terminate();
    await vi.waitFor(() => expect(sockets).toHaveLength(2));
    await sessions[0]!.end();
    expect(await mine.ended).toMatchObject({ by: "remote" });
  });

  it("takes URLs for WebSocket, and no others", () => {
    const make = (relay: string | string[]) => () => createClient({ relay, user: USER, password: PASSWORD });
    expect(make("https://portal.example")).toThrow(/is not a URL such as wss:/);
    expect(make("portal.example")).toThrow(TypeError);
    expect(make("wss://alice:secret@portal.example")).toThrow(TypeError);
    expect(make(["wss://a.example", "ws://b.example"])).toThrow(/some by TLS/);
    expect(make([])).toThrow(/there is none/);
    expect(make("wss://portal.example:8443/sip")).not.toThrow();
  });
});
