import { connect } from "node:net";
import { StreamFramer } from "../sip/frame.ts";
import type { StreamKind } from "./connections.ts";

/** Messages are cut out of the stream by their Content-Length (RFC 3261 §18.3). */
export const streamFramer: StreamKind["framer"] = (_wire, maxMessageBytes) =>
  new StreamFramer({ maxHeadBytes: maxMessageBytes, maxBodyBytes: maxMessageBytes });

/** TCP (RFC 3261 §18). */
export const tcp: StreamKind = {
  transport: "tcp",
  readyEvent: "connect",
  framer: streamFramer,
  connect: ({ address, port }) => connect({ host: address, port, noDelay: true }),
};
