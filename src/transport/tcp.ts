import { connect, createServer } from "node:net";
import type { StreamKind } from "./connections.ts";

/** TCP (RFC 3261 §18). TLS is another `StreamKind`: the same connections on sockets that are made differently. */
export const tcp: StreamKind = {
  transport: "tcp",
  secure: false,
  readyEvent: "connect",
  connect: (address, port) => connect({ host: address, port, noDelay: true }),
  createServer: (accepted) => createServer({ noDelay: true }, accepted),
};
