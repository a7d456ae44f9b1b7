import { X509Certificate } from "node:crypto";
import { isIP, type Socket } from "node:net";
import { connect, createServer, type TLSSocket } from "node:tls";
import type { Door, DoorUser } from "./arrivals.ts";
import type { Certificates } from "./certificates.ts";
import type { Wire } from "./connection.ts";
import type { Peer, StreamKind } from "./connections.ts";
import { isFor, peerNamesOf } from "./peer-names.ts";
import { streamFramer } from "./tcp.ts";

/** TLS over TCP (RFC 3261 §26.2.1, RFC 5922). */
export const tls = (certificates: Certificates): StreamKind => ({
  transport: "tls",
  readyEvent: "secureConnect",
  framer: streamFramer,
  peerNames: peerNamesOn,
  connect: (peer) => connectTls(certificates, peer),
  door: ({ ready, failed }) => tlsDoor(certificates, ready, failed),
});

/** Opens a TLS connection. It fails unless the peer's certificate is valid and for `name` (RFC 5922 §7.3). */
export function connectTls(certificates: Certificates, { address, port, name = address }: Peer): TLSSocket {
  const socket = connect({
    host: address,
    port,
    secureContext: certificates.client,
    // RFC 6066 §3: no address is sent as a server's name.
    ...(isIP(name) === 0 && { servername: name }),
    checkServerIdentity: (_host, { raw }) =>
      isFor(new X509Certificate(raw), name) ? undefined : new Error(`the peer's certificate is not for ${name}`),
  });
  socket.once("secureConnect", () => learnNames(socket));
  return socket;
}

/** Shakes hands with those who come to one listener. */
export function tlsDoor(
  certificates: Certificates,
  ready: (wire: TLSSocket, socket: Socket) => void,
  failed: DoorUser["failed"],
): Door {
  /** The TCP sockets whose peers shake hands, by address and port. */
  const shaking = new Map<string, Socket>();
  const taken = (socket: Socket): Socket | undefined => {
    const key = keyOf(socket);
    const tcp = shaking.get(key);
    shaking.delete(key);
    return tcp;
  };
  // A peer with a certificate that we do not trust counts as one without. Phones show the one of their maker.
  const server = createServer({ requestCert: certificates.asksClients, rejectUnauthorized: false }, (socket) => {
    const tcp = taken(socket);
    if (!tcp) {
      socket.destroy();
      return;
    }
    if (socket.authorized) learnNames(socket);
    ready(socket, tcp);
  });
  certificates.serve((options) => server.setSecureContext(options));
  server.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
    const tcp = taken(socket);
    if (tcp && error.code !== "ECONNRESET") failed(tcp, `TLS handshake failed: ${error.code ?? error.message}`);
    socket.destroy();
  });
  return {
    take: (socket) => {
      const key = keyOf(socket);
      shaking.set(key, socket);
      socket.once("close", () => {
        if (shaking.get(key) === socket) shaking.delete(key);
      });
      server.emit("connection", socket);
    },
  };
}

const keyOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress}|${remotePort}`;

const names = new WeakMap<object, readonly string[]>();

function learnNames(socket: TLSSocket): void {
  const certificate = socket.getPeerX509Certificate();
  if (certificate) names.set(socket, peerNamesOf(certificate));
}

/** The names in the certificate that the peer has shown on a TLS socket, if it is one that we trust. */
export const peerNamesOn = (wire: Wire): readonly string[] | undefined => names.get(wire);
