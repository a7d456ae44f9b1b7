import { promises as dns } from "node:dns";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { sipUriOf } from "../../src/sip/uri.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { Resolver } from "../../src/transport/resolve.ts";
import type { Destination } from "../../src/transport/types.ts";
import { startDnsServer } from "../support/dns-server.ts";
import { freePort } from "../support/peers.ts";
import { ROOT } from "../support/project.ts";
import { billed, chargeOf, knowsNoUpdate, startNodes, withoutCluster } from "./cluster-nodes.ts";
import { establish } from "./live-peer.ts";
import { UdpPeer } from "./udp-peer.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const addressOf = (node: number) => `127.0.0.${11 + node}`;

/** Resolves SIP URIs by the zone of ops/guide/cluster.md, with the nodes on loopback and at that port. */
async function byGuide(port: number): Promise<(uri: string) => Promise<readonly Destination[]>> {
  const page = readFileSync(join(ROOT, "ops/guide/cluster.md"), "utf8");
  const zone = /^```\n(portal\.example\.[\s\S]*?)^```$/m.exec(page)![1]!;
  const server = await startDnsServer(zone.replaceAll("10.0.0.", "127.0.0.").replaceAll(" 5060 ", ` ${port} `));
  closers.push(() => server.close());
  const asks = new dns.Resolver({ timeout: 2_000 });
  asks.setServers([server.server]);
  const resolver = new Resolver({
    transports: ["udp"],
    clock: systemClock,
    random: systemRandom,
    dns: {
      resolveNaptr: (name) => asks.resolveNaptr(name),
      resolveSrv: (name) => asks.resolveSrv(name),
      lookup: async (name) => (await asks.resolve4(name)).map((address) => ({ address })),
    },
  });
  return async (uri) => {
    const found = await resolver.resolve(sipUriOf(uri)!);
    if (!found.ok) throw new Error(found.error.reason);
    return found.value;
  };
}

/** A client or an app server that finds the nodes by name. */
class End {
  private to: { readonly address: string; readonly port: number };
  readonly peer: UdpPeer;

  private constructor(peer: UdpPeer, to: { readonly address: string; readonly port: number }) {
    this.peer = peer;
    this.to = to;
  }

  /** At that address. */
  static async open(address: string, port: number): Promise<End> {
    let isAnswer = false;
    const peer = await UdpPeer.open(() => (isAnswer ? { address: peer.heardFrom, port } : end.to), address);
    const end = new End(peer, { address: addressOf(0), port });
    const send = peer.send.bind(peer);
    peer.send = (message) => {
      isAnswer = !message.isRequest; // goes back to where the request came from (RFC 3261 §18.2.2)
      send(message);
    };
    return end;
  }

  /** From now on it writes to the first of these places that answers (RFC 3263 §4.3). Returns its address. */
  async goTo(places: readonly Destination[]): Promise<string> {
    const heard = this.peer.nextResponse(200).then(() => this.peer.heardFrom);
    for (const place of places) {
      this.to = place;
      this.peer.outside("OPTIONS", [], "sip:portal.example");
      const answered = await Promise.race([heard, new Promise((resolve) => setTimeout(resolve, 500, ""))]);
      if (answered === place.address) break;
    }
    const address = await heard;
    this.to = { ...this.to, address };
    return address;
  }
}

describe("nodes that clients find by name (P3, RFC 3263)", () => {
  it("are reached one after the other by SRV, and by a Contact that names all of them", {
    timeout: 90_000,
  }, async ({ skip }) => {
    const missing = withoutCluster();
    skip(missing !== undefined, missing);
    const port = await freePort();
    const resolve = await byGuide(port);
    const [client, server] = [await End.open("127.0.0.10", port), await End.open("127.0.0.20", port)];
    closers.push(() => Promise.all([client.peer.close(), server.peer.close()]));
    const nodes = await startNodes(
      {
        size: 3,
        config: (i) => ({
          listen: [{ transport: "udp", address: addressOf(i), port, advertised: "nodes.portal.example" }],
          tariffs: [{ id: "t", currency: "EUR", price: "0.60" }],
          services: [{ id: "wine", tariff: "t" }],
          appServers: [{ id: "winery", uri: server.peer.uri, services: ["wine"] }],
        }),
      },
      closers,
    );
    const toPortal = await resolve("sip:portal.example");
    expect(toPortal.map(({ address }) => address)).toEqual([addressOf(0), addressOf(1), addressOf(2)]);
    expect(await client.goTo(toPortal)).toBe(addressOf(0));
    const call = await establish(client.peer, server.peer, "wine");
    for (const { peer } of [client, server]) knowsNoUpdate(peer);
    server.peer.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1, chargeOf("before"));
    await server.peer.nextResponse(200);
    const contacts = [call.answer, call.inviteAtServer].map(
      (one) => /<([^>]+)>/.exec(one.headers.get("contact")!)![1]!,
    );
    expect(contacts).toEqual(Array(2).fill(`sip:nodes.portal.example:${port}`));
    const toAny = await resolve(contacts[0]!);
    expect(toAny.map(({ address }) => address).sort()).toEqual([addressOf(0), addressOf(1), addressOf(2)]);

    await nodes[0]!.kill();
    expect(await server.goTo(toAny)).not.toBe(addressOf(0));
    server.peer.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 2, chargeOf("after"));
    await server.peer.nextResponse(200);
    expect(await client.goTo(toAny)).not.toBe(addressOf(0));
    client.peer.inDialog("BYE", call.invite, call.answer, 3);
    server.peer.answer(await server.peer.nextRequest("BYE"), 200);
    await client.peer.nextResponse(200);
    // A new call goes to the next node of the portal's.
    await client.goTo(toPortal);
    const next = await establish(client.peer, server.peer, "wine");
    client.peer.inDialog("BYE", next.invite, next.answer, 3);
    server.peer.answer(await server.peer.nextRequest("BYE"), 200);
    await client.peer.nextResponse(200);
    const sessions = await billed(nodes[1]!, 2);
    expect(sessions.flatMap(({ items }) => items.map(({ item }) => item)).sort()).toEqual(["after", "before"]);
  });
});
