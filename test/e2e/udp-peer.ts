import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import type { SipMessage } from "../../src/sip/message.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { LivePeer } from "./live-peer.ts";

export { type Call, credentials, establish } from "./live-peer.ts";

/** Where a peer sends everything: the relay, an IP address and its UDP port. */
export interface Target {
  readonly address: string;
  readonly port: number;
}

/** A peer on a UDP socket. */
export class UdpPeer extends LivePeer {
  private readonly socket: Socket;
  /** The address from which the last message came. */
  heardFrom = "";

  private constructor(socket: Socket, host: string, relay: () => Target) {
    const deliver = (message: SipMessage) => {
      const { address, port } = relay();
      socket.send(serialize(message), port, address);
    };
    super({ deliver }, host, socket.address().port, "udp");
    this.socket = socket;
    socket.on("message", (bytes, { address }) => {
      this.heardFrom = address;
      this.received(bytes);
    });
  }

  /** `relay` may come later: an app server is there before the relay that knows it. Port 0: any free one. */
  static async open(relay: () => Target, address = "127.0.0.1", port = 0): Promise<UdpPeer> {
    const ipv6 = address.includes(":");
    const socket = createSocket(ipv6 ? "udp6" : "udp4");
    socket.bind(port, address);
    await once(socket, "listening");
    return new UdpPeer(socket, ipv6 ? `[${address}]` : address, relay);
  }

  get uri(): string {
    return `sip:${this.address}:${this.port}`;
  }

  async close(): Promise<void> {
    const closed = once(this.socket, "close");
    this.socket.close();
    await closed;
  }
}
