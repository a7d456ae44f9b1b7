import { networkInterfaces } from "node:os";
import { describe, expect, it } from "vitest";
import { configSchema } from "../../src/config/schema.ts";
import type { Directory } from "../../src/directory/directory.ts";
import type { AppServer } from "../../src/directory/types.ts";
import { Reach } from "../../src/relay/dialog/reach.ts";
import type { SipUri } from "../../src/sip/uri.ts";
import type { Destination } from "../../src/transport/types.ts";
import { TestClock } from "../support/test-clock.ts";
import { establish, type Lab, type LabOptions, lab, type Peer } from "./harness.ts";

/*
 * Where the relay sends what belongs to a client's dialog: never to an app server, nor to itself, nor to whoever a
 * client names (decision 18).
 */

const B = "192.0.2.101";
const RELAY = "192.0.2.1";

function portal(options: LabOptions = {}): Promise<Lab> {
  return lab({ servers: [{ id: "a" }, { id: "b", services: ["beer"] }], more: [{ id: "beer" }], ...options });
}

type Call = Awaited<ReturnType<typeof establish>>;

/** Everything that the relay sends into the client's dialog goes to that peer, and to no other. */
function expectAllAt(place: Peer, l: Lab, { server, inviteAtServer, answerOfServer }: Call): void {
  server.backInDialog("INFO", inviteAtServer, answerOfServer, 101);
  place.answer(place.request("INFO"), 200);
  server.response(200);
  for (const session of l.core.sessions.values()) session.probe(session.client!);
  place.answer(place.request("OPTIONS"), 200);
  server.backInDialog("BYE", inviteAtServer, answerOfServer, 102);
  place.request("BYE");
  expect(l.server("b").inbox).toEqual([]);
}

/** A client that moves on to b by REFER; returns what the relay sends for it, wherever that goes. */
function refers(l: Lab, { invite, answer }: Call): void {
  const contact = l.client.contact;
  l.client.inDialog("REFER", invite, answer, 2, {
    headers: [
      ["Contact", contact],
      ["Refer-To", "<sip:beer@portal.com>"],
    ],
  });
}

const NAMES_B: [what: string, contact: string][] = [
  ["its address", `<sip:beer@${B}:5060>`],
  ["its address without a port", `<sip:${B}>`],
  ["another transport", `<sip:${B}:5060;transport=tcp>`],
  ["maddr (RFC 3261 §19.1.1)", `<sip:alice@192.0.2.50:5060;maddr=${B}>`],
  ["IPv4 in IPv6", `<sip:[::ffff:${B}]:5060>`],
  ["a name in brackets before it", `"alice" <sip:alice@${B}:5060>;expires=60`],
];

describe("a client that says it is at an app server's address", () => {
  it.each(NAMES_B)("gets 403 to its INVITE: %s", async (_what, contact) => {
    const l = await portal();
    l.client.contact = contact;
    l.client.invite();
    expect(l.client.response(403).reason).toBe("Contact Is Not The Client's");
    expect([l.core.sessions.size, l.core.counters.rejected]).toEqual([0, 1]);
    expect([...l.server("a").inbox, ...l.server("b").inbox]).toEqual([]);
  });

  it.each([`<sip:${B};lr>`, `<sip:192.0.2.60;lr>, <sip:${B}:5060;lr>`, `<sip:192.0.2.60;maddr=${B};lr>`])(
    "gets 403 to its INVITE: Record-Route %s",
    async (route) => {
      const l = await portal();
      l.client.invite({ headers: [["Record-Route", route]] });
      expect(l.client.response(403).reason).toBe("Record-Route Is Not The Client's");
      expect(l.server("a").inbox).toEqual([]);
    },
  );

  it.each(["INVITE", "UPDATE", "REFER"])("gets 403 to %s within the session, which goes on", async (method) => {
    const l = await portal();
    const call = await establish(l);
    const before = l.client.contact;
    l.client.contact = `<sip:${B}:5060>`;
    const headers: [string, string][] =
      method === "REFER"
        ? [
            ["Contact", l.client.contact],
            ["Refer-To", "<sip:beer@portal.com>"],
          ]
        : [];
    l.client.inDialog(method, call.invite, call.answer, 2, { headers });
    l.client.response(403);
    l.client.contact = before;
    expectAllAt(l.client, l, call);
  });

  it("gets 403 to a REFER outside of the session: its reports would go there", async () => {
    const l = await portal();
    const { invite, answer } = await establish(l);
    const refer = l.client.inDialog("REFER", invite, answer, 9, {
      headers: [
        ["Contact", l.client.contact],
        ["Refer-To", "<sip:beer@portal.com>"],
        ["Target-Dialog", `${invite.callId};local-tag=${invite.fromTag};remote-tag=${answer.toTag}`],
      ],
    });
    l.client.inbox.length = 0;
    l.server("b").inbox.length = 0;
    refer.headers
      .set("To", "<sip:portal.com>")
      .set("Contact", `<sip:${B}>`)
      .set("Via", `${refer.headers.get("via")}x`);
    refer.changed();
    l.client.send(refer);
    l.client.response(403);
  });

  it.each([
    ["in Contact", `<sip:${B}>`, undefined],
    ["by its source address", undefined, B],
  ])("gets 403 to a SUBSCRIBE for the reports of such a REFER: %s", async (_what, contact, source) => {
    const l = await portal();
    const { invite, answer } = await establish(l);
    const refer = l.client.outside("REFER", [
      ["Contact", l.client.contact],
      ["Refer-To", "<sip:beer@portal.com>"],
      ["Target-Dialog", `${invite.callId};local-tag=${invite.fromTag};remote-tag=${answer.toTag}`],
    ]);
    const ok = l.client.response(200);
    l.client.answer(l.client.request("NOTIFY"), 200);
    const b = l.server("b");
    const asked = b.request("INVITE");
    const from = source === undefined ? l.client : b;
    const headers: [string, string][] = [
      ["Event", "refer"],
      ["Contact", contact ?? l.client.contact],
    ];
    from.inDialog("SUBSCRIBE", refer, ok, 2, { headers });
    from.response(403);
    // An old one, too, says nothing of where it is now.
    l.client.inDialog("SUBSCRIBE", refer, ok, 0, {
      headers: [
        ["Event", "refer"],
        ["Contact", "<sip:192.0.2.50:5070>"],
      ],
    });
    l.client.response(500);
    b.answer(asked, 486);
    expect(l.client.request("NOTIFY").uri).toBe(l.client.contact.slice(1, -1));
    expect(b.inbox.filter((message) => message.isRequest && message.method === "NOTIFY")).toEqual([]);
  });

  it.each(["UPDATE", "INVITE"])(
    "is spoken to where it came from, when it says so in its answer to %s",
    async (method) => {
      const l = await portal();
      const call = await establish(l);
      call.server.backInDialog(method, call.inviteAtServer, call.answerOfServer, 1);
      const request = l.client.request(method);
      l.client.contact = `<sip:${B}:5060>`;
      l.client.answer(request, 200, { headers: method === "UPDATE" ? [["Contact", l.client.contact]] : [] });
      call.server.inbox.length = 0;
      if (method === "INVITE") l.client.inbox.length = 0;
      for (const session of l.core.sessions.values()) session.probe(session.client!);
      l.client.request("OPTIONS");
      expect(l.server("b").inbox).toEqual([]);
    },
  );

  it("is invited where it came from, when it moves on by REFER (M23); and b is never invited as a client", async () => {
    const l = await portal();
    const call = await establish(l);
    refers(l, call);
    l.client.response(200);
    l.client.answer(l.client.request("NOTIFY"), 200);
    const asked = l.server("b").request("INVITE");
    l.server("b").answer(asked, 200);
    const invite = l.client.request("INVITE");
    l.client.contact = `<sip:beer@${B}>`;
    l.client.answer(invite, 200, { tag: "second", headers: [["Record-Route", `<sip:${B};lr>`]] });
    l.client.request("ACK");
    l.server("b").request("ACK");
    l.client.inbox.length = 0;
    await l.settle();
    for (const session of l.core.sessions.values()) if (session.client) session.probe(session.client);
    expect(l.server("b").inbox).toEqual([]);
  });

  it("by the address that a datagram claims to come from, is none: 403, and its way does not change", async () => {
    const l = await portal();
    const from = l.client.flow.remoteAddress;
    l.client.flow.remoteAddress = B;
    l.client.flow.remotePort = 5060;
    l.client.invite();
    expect(l.client.response(403).reason).toBe("An App Server Is No Client");
    // The same within a session, of a client behind a NAT, whom any request says where it is.
    l.client.flow.remoteAddress = "203.0.113.7";
    l.client.flow.remotePort = 1024;
    const outside = l.peer("203.0.113.7", 1024);
    const call = await establish(l);
    l.client.flow.remoteAddress = B;
    l.client.flow.remotePort = 5060;
    l.client.inDialog("MESSAGE", call.invite, call.answer, 2, { body: "x", type: "text/plain" });
    call.server.answer(call.server.request("MESSAGE"), 200);
    call.server.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 1);
    outside.request("BYE");
    expect([l.server("b").inbox, from]).toEqual([[], "192.0.2.50"]);
  });
});

describe("a client that names another place than it came from", () => {
  it.each([
    ["loopback", "<sip:alice@127.0.0.1:5062>"],
    ["another network", "<sip:alice@10.0.0.7>"],
    ["a metadata service, by TCP", "<sip:169.254.169.254:80;transport=tcp>"],
    ["the relay itself", `<sip:alice@${RELAY}:5060>`],
    ["everybody", "<sip:alice@255.255.255.255>"],
    ["a name that leads elsewhere", "<sip:alice@elsewhere.example>"],
  ])("is spoken to where it came from: Contact is %s", async (_what, contact) => {
    const l = await portal();
    const elsewhere = l.peer(/@?([\d.]+|elsewhere\.example)/.exec(contact.slice(5))![1]!, 5062);
    l.client.contact = contact;
    const call = await establish(l);
    expectAllAt(l.client, l, call);
    expect(elsewhere.inbox).toEqual([]);
  });

  it("so by Record-Route, and by a Contact that comes later", async () => {
    const l = await portal();
    const call = await establish(l, { inviteHeaders: [["Record-Route", "<sip:10.0.0.7;lr>"]] });
    call.server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1);
    const info = l.client.request("INFO");
    expect(info.headers.all("route")).toEqual(["<sip:10.0.0.7;lr>"]);
    l.client.answer(info, 200);
    call.server.response(200);

    const later = await portal();
    const second = await establish(later);
    later.client.contact = "<sip:alice@10.0.0.7>";
    later.client.inDialog("UPDATE", second.invite, second.answer, 2);
    second.server.answer(second.server.request("UPDATE"), 200);
    later.client.response(200);
    expectAllAt(later.client, later, second);
  });

  it("is spoken to there, where the operator names that network", async () => {
    const l = await portal({ config: { clients: { networks: ["10.0.0.0/24"] } } });
    l.client.contact = "<sip:alice@10.0.0.7:5070>";
    const there = l.peer("10.0.0.7", 5070);
    const call = await establish(l);
    expectAllAt(there, l, call);
  });

  it("but never to an app server or the relay itself, whatever network the operator names", async () => {
    const l = await portal({ config: { clients: { networks: ["0.0.0.0/0"] } } });
    l.client.contact = `<sip:alice@${RELAY}>`;
    const call = await establish(l);
    expectAllAt(l.client, l, call);
    l.client.contact = `<sip:${B}>`;
    l.client.invite();
    l.client.response(403);
  });

  it("is spoken to at another port of its own host, as behind a proxy or with a socket for each direction", async () => {
    const l = await portal();
    l.client.contact = "<sip:alice@192.0.2.50:5099>";
    const there = l.peer("192.0.2.50", 5099);
    expectAllAt(there, l, await establish(l));
    const proxied = await portal();
    const proxy = proxied.peer("192.0.2.50", 5060);
    const call = await establish(proxied, { inviteHeaders: [["Record-Route", "<sip:192.0.2.50;lr>"]] });
    expectAllAt(proxy, proxied, call);
  });

  it("over proxies by a connection: is spoken to by that, where nothing else leads there", async () => {
    const l = await portal({ clientTransport: "tcp" });
    const call = await establish(l, { inviteHeaders: [["Record-Route", "<sip:10.0.0.7;transport=tcp;lr>"]] });
    expectAllAt(l.client, l, call);
  });
});

it("an app server that says it is the relay is not believed", async () => {
  const l = await portal();
  const invite = l.client.invite();
  const at = l.server("a").request("INVITE");
  l.server("a").contact = `<sip:${RELAY}:5060>`;
  l.server("a").answer(at, 200);
  l.client.ack(invite, l.client.response(200));
  await l.settle();
  const own = l.peer(RELAY, 5060);
  for (const session of l.core.sessions.values()) session.probe(session.server!);
  expect(own.inbox).toEqual([]);
});

describe("the tables of where not to go", () => {
  function reach(uris: string[], options: { networks?: string[]; listen?: string[]; http?: string } = {}) {
    const clock = new TestClock();
    const servers = uris.map((uri, i): AppServer => ({ id: `s${i}`, uri, services: ["x"] }));
    const names = new Map<string, string[]>();
    const config = configSchema.parse({
      clients: { networks: options.networks ?? [] },
      listen: options.listen ?? ["udp:198.51.100.1:5060"],
      ...(options.http && { http: { listen: options.http } }),
    });
    const directory = { appServers: () => servers } as unknown as Directory;
    const resolve = (uri: SipUri, found: (places: readonly Destination[]) => void) =>
      found((names.get(uri.host) ?? []).map((address) => ({ transport: "udp", address, port: uri.port ?? 5060 })));
    const made = new Reach({ clock, directory, resolve }, config);
    const from: Destination = { transport: "udp", address: "203.0.113.7", port: 5060 };
    const goes = (address: string, port: number, cameFrom: Destination | "an app server" = from) => {
      const there: Destination = { transport: "udp", address, port };
      return made.choose([there], cameFrom === "an app server" ? undefined : cameFrom) === there;
    };
    return { clock, servers, names, made, goes, from };
  }

  it.each(["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "0.1.2.3"])(
    "know this machine by %s, where an app server is on it",
    (address) => {
      const { goes } = reach(["sip:127.0.0.1:5070"], { networks: ["0.0.0.0/0", "::/0"] });
      const local: Destination = { transport: "udp", address: "127.0.0.1", port: 5061 };
      expect(goes(address, 5070, local)).toBe(false);
      expect(goes(address, 5071, local)).toBe(true);
    },
  );

  it("know this machine by each of its addresses, and the relay on all of them", () => {
    const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
    const { goes } = reach([], {
      listen: ["udp:0.0.0.0:5062"],
      networks: ["0.0.0.0/0", "::/0"],
      http: "127.0.0.1:8443",
    });
    for (const { address } of own) {
      expect([goes(address, 5062), goes(address, 8443), goes(address, 5063)]).toEqual([false, false, true]);
      expect(goes(address, 5062, "an app server")).toBe(false);
    }
  });

  it("know an app server by what its name leads to, also later, and forget one that is taken out", () => {
    const { goes, names, servers, clock, made } = reach(["sip:winery.example"], { networks: ["10.0.0.0/8"] });
    names.set("winery.example", ["10.0.0.5", "10.0.0.6"]);
    expect([goes("10.0.0.5", 5060), goes("10.0.0.6", 5060), goes("10.0.0.5", 5061)]).toEqual([false, false, true]);
    expect(made.isAppServer({ address: "10.0.0.6", port: 5060 })).toBe(true);
    names.set("winery.example", ["10.0.0.7"]);
    clock.advance(31_000);
    goes("10.0.0.7", 5060); // asks anew
    expect(goes("10.0.0.7", 5060)).toBe(false);
    names.set("winery.example", []);
    clock.advance(31_000);
    expect(goes("10.0.0.7", 5060)).toBe(false); // what was found before holds on
    servers.length = 0;
    clock.advance(1_000);
    expect(goes("10.0.0.7", 5060)).toBe(true);
  });

  it("take a proxy of the operator's for none, though app servers are reached by it as clients are", async () => {
    const l = await portal({
      config: { trustedProxies: [B] },
      servers: [{ id: "a" }, { id: "b", uri: `sip:${B}:5060`, services: ["beer"] }],
    });
    const proxy = l.server("b");
    const invite = proxy.invite({ headers: [["Record-Route", `<sip:${B};lr>`]] });
    const at = l.server("a").request("INVITE");
    l.server("a").answer(at, 200);
    proxy.ack(invite, proxy.response(200));
    await l.settle();
    for (const session of l.core.sessions.values()) session.probe(session.client!);
    proxy.request("OPTIONS");
  });

  it("let nothing go to many at once", () => {
    const { goes } = reach([], { networks: ["0.0.0.0/0", "::/0"] });
    for (const address of ["224.0.1.75", "239.1.1.1", "255.255.255.255", "ff02::1"])
      expect(goes(address, 5060)).toBe(false);
  });

  it("lead to where the client came from by UDP, and make no connection that it has made", () => {
    const { made, from } = reach([]);
    const there: Destination = { transport: "udp", address: "10.9.9.9", port: 5060 };
    expect(made.choose([there], from)).toEqual(from);
    expect(made.choose([there], { ...from, transport: "tcp" })).toBeUndefined();
    expect(made.choose([], from)).toEqual(from);
  });
});
