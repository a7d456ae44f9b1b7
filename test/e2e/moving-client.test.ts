import { networkInterfaces } from "node:os";
import { describe, expect, it, onTestFinished } from "vitest";
import type { SipMessage, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { Peer } from "../relay/harness.ts";
import { itUnless } from "../support/unless.ts";
import { DOMAIN, openPortal, USER } from "./portal.ts";
import { TcpPeer } from "./tcp-peer.ts";
import { credentials, establish, UdpPeer } from "./udp-peer.ts";

const hasIpv6 = Object.values(networkInterfaces()).some((entries) => entries?.some(({ address }) => address === "::1"));
const NO_V6 = hasIpv6 ? undefined : "this machine has no IPv6 loopback address";

async function open(address: string, listen?: readonly string[]) {
  const relay = () => ({ address, port: portal.udp });
  const server = await UdpPeer.open(relay, address);
  const config = {
    services: [{ id: "wine" }],
    appServers: [{ id: "shop", uri: server.uri, services: ["wine"] }],
    ...(listen && { listen: listen.map((one) => `udp:${one}:0`) }),
  };
  const portal = await openPortal({ config, address });
  onTestFinished(async () => {
    await portal.close();
    await server.close();
  });
  return { portal, server, relay };
}

/** A client on a TCP connection, moved by hand. */
class TcpClient extends Peer {
  readonly connection: TcpPeer;

  private constructor(connection: TcpPeer, address: string) {
    const deliver = (message: SipMessage) => void connection.socket.write(serialize(message));
    super({ deliver }, address, connection.localPort, "tcp");
    this.connection = connection;
    this.contact = `${this.contact.slice(0, -1)};transport=tcp>`;
  }

  static async dial(port: number, address: string): Promise<TcpClient> {
    const connection = await TcpPeer.dial(port, address);
    onTestFinished(() => void connection.socket.destroy());
    return new TcpClient(connection, address);
  }

  async next<T extends SipRequest | SipResponse>(what: string | number): Promise<T> {
    for (;;) {
      const message = await this.connection.next();
      if (message === "pong" || (!message.isRequest && message.status === 100)) continue;
      expect(message.isRequest ? message.method : message.status).toBe(what);
      return message as T;
    }
  }
}

it("a client is answered from the socket that it came to, of several: no NAT lets anything through from another (RFC 5626 §5.3)", async () => {
  const { portal, server, relay } = await open("127.0.0.1", ["127.0.0.1", "127.0.0.1"]);
  const [first, second] = portal.relay.addresses.filter(({ transport }) => transport === "udp").map(({ port }) => port);
  let port = second!;
  const client = await UdpPeer.open(() => ({ ...relay(), port }));
  onTestFinished(() => client.close());
  const { invite, answer, inviteAtServer, answerOfServer } = await establish(client, server, "wine");
  const asked = async (seq: number) => {
    server.backInDialog("INFO", inviteAtServer, answerOfServer, seq);
    const info = await client.nextRequest("INFO");
    client.answer(info, 200);
    await server.nextResponse(200);
    return info.via?.port;
  };
  expect(answer.headers.get("contact")).toContain(`:${second}>`);
  expect(await asked(1)).toBe(second);
  // It goes on by the other one.
  port = first!;
  client.inDialog("UPDATE", invite, answer, 3);
  server.answer(await server.nextRequest("UPDATE"), 200);
  expect((await client.nextResponse(200)).headers.get("contact")).toContain(`:${first}>`);
  expect(await asked(2)).toBe(first);
});

describe.each(["127.0.0.1", "::1"])("a client at %s that moves within its session, on real sockets", (address) => {
  itUnless(address === "::1" ? NO_V6 : undefined)("to another port: BYE goes there", async () => {
    const { server, relay } = await open(address);
    const [client, there] = [await UdpPeer.open(relay, address), await UdpPeer.open(relay, address)];
    onTestFinished(async () => {
      await client.close();
      await there.close();
    });
    const { invite, answer, inviteAtServer, answerOfServer } = await establish(client, server, "wine");
    const again = there.inDialog("INVITE", invite, answer, invite.cseq!.number + 1);
    server.answer(await server.nextRequest("INVITE"), 200);
    there.ack(again, await there.nextResponse(200));
    await server.nextRequest("ACK");
    server.backInDialog("BYE", inviteAtServer, answerOfServer, 1);
    there.answer(await there.nextRequest("BYE"), 200);
    await server.nextResponse(200);
    expect(client.inbox).toEqual([]);
  });

  itUnless(address === "::1" ? NO_V6 : undefined)(
    "to another connection, and to a third when that one is cut: BYE goes there",
    async () => {
      const { portal, server } = await open(address);
      const client = await TcpClient.dial(portal.tcp, address);
      const from = `<sip:${USER}@${DOMAIN}>`;
      const uri = `sip:wine@${DOMAIN}`;
      const first = client.invite({ uri, from });
      const challenge = await client.next<SipResponse>(401);
      client.ack(first, challenge);
      const invite = client.invite({ uri, from, headers: [["Authorization", credentials(challenge, uri)]] });
      const inviteAtServer = await server.nextRequest("INVITE");
      const answerOfServer = server.answer(inviteAtServer, 200);
      const answer = await client.next<SipResponse>(200);
      client.ack(invite, answer);
      await server.nextRequest("ACK");

      const second = await TcpClient.dial(portal.tcp, address);
      second.inDialog("UPDATE", invite, answer, 2);
      server.answer(await server.nextRequest("UPDATE"), 200);
      await second.next(200);
      server.backInDialog("INFO", inviteAtServer, answerOfServer, 1);
      second.answer(await second.next<SipRequest>("INFO"), 200);
      await server.nextResponse(200);

      second.connection.socket.destroy();
      const third = await TcpClient.dial(portal.tcp, address);
      third.inDialog("INFO", invite, answer, 3);
      server.answer(await server.nextRequest("INFO"), 200);
      await third.next(200);
      server.backInDialog("BYE", inviteAtServer, answerOfServer, 2);
      third.answer(await third.next<SipRequest>("BYE"), 200);
      await server.nextResponse(200);
    },
  );
});
