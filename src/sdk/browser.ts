/** For clients in browsers: SIP over WebSocket on SIP.js, with a service description instead of SDP. */
import { SipClient } from "./client.ts";
import type { BrowserClientOptions, Client } from "./client-api.ts";
import type { Relays } from "./connection.ts";
import { webHashes } from "./web-hashes.ts";
import { webSocketAddress } from "./web-socket.ts";

export type { ChangeOptions, ServiceChange } from "./changes.ts";
export type {
  BrowserClientOptions,
  Client,
  ClientSession,
  MoveOptions,
  RequestAllOptions,
  ServerChange,
  ServiceRequestOptions,
} from "./client-api.ts";
export type { Ending } from "./dialog.ts";
export { ACCESS_TYPE, type Description, SERVICE_TYPE } from "./session-description.ts";
export { SipError } from "./sip-error.ts";

/**
 * Makes a client of the relay, for a page. It connects with the first request. After a lost connection, it connects
 * again at once if there are sessions, which then go on, or else with the next request. Throws a `TypeError` where
 * `relay` is not a URL for WebSocket, or where only some of several are by TLS.
 */
export function createClient(options: BrowserClientOptions): Client {
  return new SipClient(options, relaysOf(options), webHashes);
}

function relaysOf({ relay }: BrowserClientOptions): Relays {
  const addresses = [relay].flat().map(webSocketAddress);
  const [first] = addresses;
  if (!first) throw new TypeError("relay: there is none");
  const { protocol, hostname } = first.url;
  if (addresses.some(({ url }) => url.protocol !== protocol)) throw new TypeError("relay: some by TLS, and some not");
  return { protocol: protocol === "wss:" ? "WSS" : "WS", addresses, host: hostname };
}
