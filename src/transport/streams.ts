import type { StreamKind } from "./connections.ts";
import { type InsidePeers, inside } from "./inside.ts";
import type { TransportName } from "./kinds.ts";
import { tcp } from "./tcp.ts";
import { tls } from "./tls.ts";
import { type WebSocketOptions, ws, wss } from "./web-socket.ts";

/** What the reliable transports are made with. */
export interface StreamOptions extends WebSocketOptions {
  /** The peers within this process; default: there are none. */
  readonly inside?: InsidePeers | undefined;
}

/** How each reliable transport listens and connects. What is always so of a transport stands in `kinds.ts`. */
export const streamsOf = (options: StreamOptions): Readonly<Record<Exclude<TransportName, "udp">, StreamKind>> => ({
  tcp,
  tls: tls(options.certificates),
  ws: ws(options),
  wss: wss(options),
  http: inside(options.inside),
});
