import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import type { Dialog } from "../../src/relay/dialog/dialog.ts";
import { type SipMessage, type SipRequest, SipResponse } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { reasonPhrase } from "../../src/sip/response.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { TimerQueues } from "../../src/support/timer-queues.ts";
import { createTransactionLayer, type Transactions } from "../../src/transaction/layer.ts";
import type { ServerTransaction, TransactionUser } from "../../src/transaction/types.ts";
import type { Destination, Flow, TransportLayer } from "../../src/transport/types.ts";
import { stampVia, viaFor } from "../../src/transport/via.ts";

/** For what a peer repeats. */
export const peerTimers = new TimerQueues(systemClock, (error) => {
  throw error;
});

export interface UdpEndOptions {
  /** Where a request goes; `sent`: how often it has been sent. Default: always to its destination. */
  readonly portFor?: (destination: Destination, sent: number) => number;
  /** Sees each message first, and the port that it comes from. */
  readonly seen?: (message: SipMessage, port: number) => void;
}

/** A UDP socket of 127.0.0.1 as a transport, with transactions on it. */
export class UdpEnd implements TransportLayer {
  readonly socket: Socket;
  readonly port: number;
  readonly transactions: Transactions;
  private closed = false;
  private readonly options: UdpEndOptions;

  private constructor(socket: Socket, user: TransactionUser, options: UdpEndOptions) {
    this.socket = socket;
    this.port = socket.address().port;
    this.options = options;
    this.transactions = createTransactionLayer({ transport: this, clock: systemClock, random: systemRandom, user });
    socket.on("message", (bytes, { port }) => {
      const read = parseMessage(bytes, "datagram");
      if (!read.ok) return;
      options.seen?.(read.value, port);
      if (read.value.isRequest) stampVia(read.value, "127.0.0.1", port);
      this.transactions.received(read.value, this.flowTo(port));
    });
    socket.on("error", () => {}); // nobody listens at the other end just now
  }

  static async open(user: TransactionUser, options: UdpEndOptions = {}): Promise<UdpEnd> {
    const socket = createSocket({ type: "udp4", recvBufferSize: 4_194_304 });
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    return new UdpEnd(socket, user, options);
  }

  get contact(): string {
    return `<sip:127.0.0.1:${this.port}>`;
  }

  sendRequest(request: SipRequest, destination: Destination, branch: string): { flow: Flow; bytes: Buffer } {
    const { portFor = ({ port }) => port } = this.options;
    let sent = 0;
    const flow = this.flowTo(destination.port, () => portFor(destination, sent++));
    request.headers.prepend("Via", viaFor("udp", `127.0.0.1:${this.port}`, branch));
    request.changed();
    const bytes = serialize(request);
    flow.send(bytes);
    return { flow, bytes };
  }

  contactFor(): string {
    return `127.0.0.1:${this.port}`;
  }

  contactTowards(): string {
    return `127.0.0.1:${this.port}`;
  }

  close(): void {
    this.closed = true;
    this.transactions.close();
    this.socket.close();
  }

  private flowTo(port: number, portNow = () => port): Flow {
    return {
      id: `udp/127.0.0.1:${port}`,
      transport: "udp",
      reliable: false,
      secure: false,
      remoteAddress: "127.0.0.1",
      remotePort: port,
      open: true,
      send: (bytes) => {
        if (!this.closed) this.socket.send(bytes, portNow(), "127.0.0.1");
      },
    };
  }
}

/** Where the peer of a dialog has said that it is. */
export function destinationOf({ remoteTarget }: Pick<Dialog, "remoteTarget">): Destination {
  const port = Number(/:(\d+)/.exec(remoteTarget.replace(/^sips?:/, ""))?.[1] ?? 5060);
  return { transport: "udp", address: "127.0.0.1", port };
}

export function reply(transaction: ServerTransaction, status: number): void {
  transaction.respond(new SipResponse(status, reasonPhrase(status)));
}
