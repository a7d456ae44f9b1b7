import { createSocket } from "node:dgram";
import { isIP } from "node:net";

/** Where an rtpengine takes commands. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** A UDP socket that is connected to one place: what comes from elsewhere never arrives. */
export interface NgSocket {
  send(bytes: Buffer): void;
  close(): void;
}

/** `received`: a datagram came. `failed`: the socket is of no use any more. */
export type OpenNgSocket = (
  place: Place,
  received: (bytes: Buffer) => void,
  failed: (reason: string) => void,
) => NgSocket;

/** What is sent before the name is resolved waits in the socket. */
const MAX_WAITING = 1_000;

export const openNgSocket: OpenNgSocket = ({ host, port }, received, failed) => {
  const socket = createSocket({ type: isIP(host) === 6 ? "udp6" : "udp4" });
  let waiting: Buffer[] | undefined = [];
  let closed = false;
  const close = () => {
    if (closed) return;
    closed = true;
    socket.close();
  };
  socket.on("message", received);
  socket.on("error", (error) => {
    close();
    failed(error.message);
  });
  socket.connect(port, host, () => {
    for (const bytes of waiting ?? []) socket.send(bytes);
    waiting = undefined;
  });
  return {
    send(bytes) {
      if (closed) return;
      if (!waiting)
        socket.send(bytes, () => {}); // a port that nobody listens at: the next read says so
      else if (waiting.length < MAX_WAITING) waiting.push(bytes);
    },
    close,
  };
};
