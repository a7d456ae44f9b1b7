import { networkInterfaces } from "node:os";
import { describe, expect, it, onTestFinished } from "vitest";
import { OPEN_TRANSPORTS, type TransportName } from "../../src/transport/kinds.ts";
import { authority, certificateFolder, type Issued } from "../support/certificates.ts";
import { itUnless } from "../support/unless.ts";
import { establish, type LivePeer } from "./live-peer.ts";
import { DOMAIN, lines, openPortal, PASSWORD, type Portal, USER } from "./portal.ts";
import { type Stream, StreamPeer } from "./stream-peer.ts";
import { UdpPeer } from "./udp-peer.ts";

/* A whole relay, with clients and app servers by every transport. */

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));

const ca = authority();
const files = certificateFolder([`DNS:${DOMAIN}`], ca);
const atAddress = ca.issue({ names: ["IP:127.0.0.1"] });

interface Options {
  readonly client: TransportName;
  readonly server: TransportName;
  /** The app server's certificate. */
  readonly issued?: Issued;
  readonly appServer?: object;
  readonly config?: object;
  /** The app server is registered by a sips URI. */
  readonly sips?: boolean;
}

async function open({ client: by, server: to, issued = atAddress, appServer = {}, config = {}, sips }: Options) {
  let portal: Portal | undefined;
  const relay = () => ({ address: "127.0.0.1", port: portal!.udp });
  const server = to === "udp" ? await UdpPeer.open(relay) : await StreamPeer.listen(to, issued);
  portal = await openPortal({
    config: {
      listen: OPEN_TRANSPORTS.map((transport) => ({ transport, address: "127.0.0.1", port: 0 })),
      tls: { cert: files.cert, key: files.key, ca: files.ca, clientCa: files.ca },
      services: [{ id: "wine", limits: { charge: "100", currency: "EUR" } }],
      appServers: [{ id: "winery", uri: sips ? sipsOf(server.uri) : server.uri, services: ["wine"], ...appServer }],
      ...config,
    },
  });
  const opened = portal;
  const client =
    by === "udp" ? await UdpPeer.open(relay) : await StreamPeer.dial(by, portOf(opened, by), { ca: ca.cert });
  onTestFinished(async () => {
    await opened.close();
    await Promise.all([client.close(), server.close()]);
  });
  return { portal: opened, client: client as LivePeer, server: server as LivePeer };
}

const sipsOf = (uri: string): string => uri.replace("sip:", "sips:").replace(";transport=tls", "");

const portOf = ({ relay }: Portal, transport: TransportName): number =>
  relay.addresses.find((one) => one.transport === transport)!.port;

describe("a call by every transport (M1, M7, M11, M14)", () => {
  it.each(OPEN_TRANSPORTS)("goes by %s on both sides, is charged, and is hung up by the client", async (transport) => {
    const { portal, client, server } = await open({ client: transport, server: transport });
    const { invite, answer, inviteAtServer, answerOfServer } = await establish(client, server, "wine");
    const contact =
      transport === "udp"
        ? `<sip:127.0.0.1:${portal.udp}>`
        : `<sip:127.0.0.1:${portOf(portal, transport)};transport=${transport}>`;
    expect([answer, inviteAtServer].map((message) => message.headers.get("contact"))).toEqual([contact, contact]);
    expect(inviteAtServer.via?.transport).toBe(transport.toUpperCase());
    server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, {
      type: "application/vnd.tollgate.charge+json",
      body: JSON.stringify({ charges: [{ id: "1", item: "Riesling", unitPrice: "12.50", currency: "EUR" }] }),
      headers: [["Info-Package", "tollgate-charge"]],
    });
    await server.nextResponse(200);
    client.inDialog("BYE", invite, answer, 2);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    expect(lines(await portal.bill())).toEqual(["wine, ended by client: 0", "1 x Riesling by info: 12.50 EUR"]);
  });

  it.each<[Stream, Stream]>([
    ["wss", "tcp"],
    ["tcp", "wss"],
    ["tls", "ws"],
    ["ws", "tls"],
  ])("goes from %s to %s, and the app server hangs up by the client's own connection", async (by, to) => {
    const { portal, client, server } = await open({ client: by, server: to });
    const { inviteAtServer, answerOfServer } = await establish(client, server, "wine");
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
    client.answer(await client.nextRequest("BYE"), 200);
    await server.nextResponse(200);
    expect(lines(await portal.bill())).toEqual(["wine, ended by server: 0"]);
  });
});

describe("an app server by TLS (RFC 5922)", () => {
  it("whose certificate has the name that is registered for it is asked, though its URI has an address", async () => {
    const issued = ca.issue({ names: ["DNS:winery.example"] });
    const { client, server } = await open({
      client: "tcp",
      server: "tls",
      issued,
      appServer: { certificate: "winery.example" },
    });
    const { invite, answer } = await establish(client, server, "wine");
    client.inDialog("BYE", invite, answer, 2);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
    expect((server as StreamPeer).lines).toHaveLength(1); // its Contact has an address, too
  });

  it.each<[what: string, issued: Issued]>([
    ["another name", ca.issue({ names: ["DNS:other.example"] })],
    ["another authority", authority().issue({ names: ["IP:127.0.0.1"] })],
  ])("with a certificate of %s is not asked; the client gets 503 or 500", async (_what, issued) => {
    const { client, server } = await open({ client: "tcp", server: "tls", issued });
    const invite = await client.call("wine");
    client.ack(invite, await client.nextResponse(500));
    expect(server.inbox).toEqual([]);
  });

  it("charges by MESSAGE without a key, if its certificate is the one that is registered (M15)", async () => {
    const own = ca.issue({ names: ["DNS:winery.example", "IP:127.0.0.1"] });
    const appServer = { certificate: "winery.example" };
    const { portal, client, server } = await open({ client: "udp", server: "tls", issued: own, appServer });
    const { inviteAtServer } = await establish(client, server, "wine");
    const session = inviteAtServer.headers.get("tollgate-session")!;
    const charge = (id: string): Parameters<LivePeer["outside"]> => [
      "MESSAGE",
      [
        ["Tollgate-Session", session],
        ["Content-Type", "application/vnd.tollgate.charge+json"],
      ],
      `sip:charges@${DOMAIN}`,
      JSON.stringify({ charges: [{ id, item: "Riesling", unitPrice: "12.50", currency: "EUR" }] }),
    ];
    const known = await StreamPeer.dial("tls", portOf(portal, "tls"), { ca: ca.cert, own });
    const unknown = await StreamPeer.dial("tls", portOf(portal, "tls"), {
      ca: ca.cert,
      own: ca.issue({ names: ["DNS:other.example"] }),
    });
    onTestFinished(async () => void (await Promise.all([known.close(), unknown.close()])));
    unknown.outside(...charge("1"));
    await unknown.nextResponse(401);
    known.outside(...charge("2"));
    await known.nextResponse(200);
  });
});

describe("sips (RFC 3261 §26.2, RFC 5630)", () => {
  it.each<[TransportName, TransportName]>([
    ["tls", "tls"],
    ["wss", "wss"],
    ["wss", "tls"],
  ])(
    "asked for by %s is kept to the app server by %s: Request-URI, Contact and each further request",
    async (by, to) => {
      const { portal, client, server } = await open({ client: by, server: to });
      const uri = `sips:wine@${DOMAIN}`;
      server.contact = `<sips:shop@127.0.0.1:${server.port}${to === "wss" ? ";transport=ws" : ""}>`;
      const { invite, answer, inviteAtServer, answerOfServer } = await establish(client, server, "wine", { uri });
      expect(inviteAtServer.uri).toBe(`sips:127.0.0.1:${server.port}${to === "wss" ? ";transport=ws" : ""}`);
      const contact = (transport: TransportName) =>
        `<sips:127.0.0.1:${portOf(portal, transport)}${transport === "wss" ? ";transport=ws" : ""}>`;
      expect(inviteAtServer.headers.get("contact")).toBe(contact(to));
      expect(answer.headers.get("contact")).toBe(contact(by));
      server.backInDialog("INFO", inviteAtServer, answerOfServer, 1, { body: "hello", type: "text/plain" });
      client.answer(await client.nextRequest("INFO"), 200);
      await server.nextResponse(200);
      client.inDialog("BYE", invite, answer, 2);
      const bye = await server.nextRequest("BYE");
      expect(bye.uri).toBe(server.contact.slice(1, -1));
      server.answer(bye, 200);
      await client.nextResponse(200);
    },
  );

  it.each<TransportName>(["udp", "tcp", "ws"])(
    "gets 480 where the app server is reached by %s: that hop is not secured",
    async (to) => {
      const { client, server } = await open({ client: "tls", server: to });
      const invite = await client.call("wine", { uri: `sips:wine@${DOMAIN}` });
      const refusal = await client.nextResponse(480);
      expect(refusal.headers.all("warning").join()).toContain('380 tollgate "SIPS Not Allowed"');
      client.ack(invite, refusal);
      expect(server.inbox).toEqual([]);
    },
  );

  it("is not left by an app server whose Contact is no sips URI: it is spoken to where it was asked", async () => {
    const { client, server } = await open({ client: "tls", server: "tls" });
    const { invite, answer } = await establish(client, server, "wine", { uri: `sips:wine@${DOMAIN}` });
    client.inDialog("BYE", invite, answer, 2);
    const bye = await server.nextRequest("BYE");
    expect(bye.uri).toBe(`sips:127.0.0.1:${server.port}`);
    server.answer(bye, 200);
    await client.nextResponse(200);
  });

  it("is asked of an app server that is registered by it, though the client's URI is none", async () => {
    const { client, server } = await open({ client: "tcp", server: "tls", sips: true });
    const { inviteAtServer } = await establish(client, server, "wine");
    expect(inviteAtServer.uri).toBe(`sips:127.0.0.1:${server.port}`);
    expect(inviteAtServer.headers.get("contact")).toMatch(/^<sips:/);
  });
});

describe("user id and password in From (M2)", () => {
  const from = `<sip:${USER}:${encodeURIComponent(PASSWORD)}@${DOMAIN}>`;

  it.each<TransportName>(["tls", "wss"])("sign in by %s without any setting, and pass on nowhere", async (by) => {
    const { portal, client, server } = await open({ client: by, server: "udp" });
    const seen: string[] = [];
    server.onMessage = (message) => {
      seen.push(message.headers.fields.map(({ name, value }) => `${name}: ${value}`).join("\n"));
      return false;
    };
    const invite = client.invite({ uri: `sip:wine@${DOMAIN}`, from });
    const asked = await server.nextRequest("INVITE");
    expect(asked.headers.get("from")).toMatch(new RegExp(`^<sip:${USER}@${DOMAIN}>;tag=`));
    const accepted = server.answer(asked, 200);
    client.ack(invite, await client.nextResponse(200));
    await server.nextRequest("ACK");
    server.backInDialog("BYE", asked, accepted, 1);
    client.answer(await client.nextRequest("BYE"), 200);
    await server.nextResponse(200);
    for (const text of [...seen, portal.log()]) {
      expect(text).not.toContain(PASSWORD);
      expect(text).not.toContain(encodeURIComponent(PASSWORD));
    }
  });

  it.each<TransportName>(["udp", "tcp", "ws"])("are no sign-in by %s: everybody could read them", async (by) => {
    const { client, server, portal } = await open({ client: by, server: "udp" });
    const invite = client.invite({ uri: `sip:wine@${DOMAIN}`, from });
    client.ack(invite, await client.nextResponse(401));
    expect(server.inbox).toEqual([]);
    expect(portal.log()).not.toContain(encodeURIComponent(PASSWORD));
  });

  it("are refused by TLS where the password is wrong", async () => {
    const { client, server, portal } = await open({ client: "tls", server: "udp" });
    const invite = client.invite({ uri: `sip:wine@${DOMAIN}`, from: `<sip:${USER}:wr0ng-one@${DOMAIN}>` });
    client.ack(invite, await client.nextResponse(401));
    expect(server.inbox).toEqual([]);
    expect(portal.log()).not.toContain("wr0ng-one");
  });
});

describe("listeners", () => {
  itUnless(hasIpv6 ? undefined : "this machine has no IPv6 loopback address")(
    "of several addresses and families each show their own advertised address, by TLS too",
    async () => {
      const listen = [
        { transport: "tls", address: "127.0.0.1", port: 0, advertised: "sip.portal.example:5061" },
        { transport: "tls", address: "::1", port: 0 },
        { transport: "wss", address: "::1", port: 0, advertised: "[2001:db8::5]:8443" },
      ];
      const { portal, server } = await open({ client: "tls", server: "tls", config: { listen } });
      const contacts: string[] = [];
      for (const [at, transport, address] of [
        [0, "tls", "127.0.0.1"],
        [1, "tls", "::1"],
        [2, "wss", "::1"],
      ] as const) {
        const client = await StreamPeer.dial(transport, portal.relay.addresses[at]!.port, { ca: ca.cert, address });
        onTestFinished(() => client.close());
        const { answer, invite } = await establish(client, server, "wine");
        contacts.push(answer.headers.get("contact")!);
        client.inDialog("BYE", invite, answer, 2);
        server.answer(await server.nextRequest("BYE"), 200);
        await client.nextResponse(200);
      }
      expect(contacts).toEqual([
        "<sip:sip.portal.example:5061;transport=tls>",
        `<sip:[::1]:${portal.relay.addresses[1]!.port};transport=tls>`,
        "<sip:[2001:db8::5]:8443;transport=wss>",
      ]);
    },
  );

  it("show a new certificate after a reload (SIGHUP), and calls go on", async () => {
    const own = certificateFolder([`DNS:${DOMAIN}`], ca);
    const tls = { cert: own.cert, key: own.key, ca: own.ca };
    const { portal, client, server } = await open({ client: "tls", server: "udp", config: { tls } });
    const { invite, answer } = await establish(client, server, "wine");
    expect(portal.relay.metrics().gauges.certificateDaysLeft).toBeCloseTo(90, 0);
    own.write(ca.issue({ names: ["DNS:new.example"] }));
    await portal.relay.reload();
    const later = await StreamPeer.dial("tls", portOf(portal, "tls"), { ca: ca.cert, name: "new.example" });
    await later.close();
    client.inDialog("BYE", invite, answer, 2);
    server.answer(await server.nextRequest("BYE"), 200);
    await client.nextResponse(200);
  });
});
