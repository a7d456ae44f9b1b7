import { SipClient } from "./client.ts";
import type { Client, ClientOptions } from "./client-api.ts";
import { parseUri } from "./client-link.ts";
import type { Relays } from "./connection.ts";
import { nodeHashes } from "./node-hashes.ts";
import { dial } from "./tcp-connection.ts";
import { unbracketed } from "./user-agent.ts";

/**
 * Makes a client of the relay. It connects with the first request. After a lost connection, it connects again at once
 * if there are sessions, which then go on, or else with the next request. Throws a `TypeError` where `relay` is not a
 * SIP URI for TCP or TLS, or where only some of several are by TLS.
 */
export function createClient(options: ClientOptions): Client {
  return new SipClient(options, relaysOf(options), nodeHashes);
}

function relaysOf({ relay, tls = {} }: ClientOptions): Relays {
  const uris = [relay].flat().map((text) => {
    const uri = parseUri(text, "relay");
    const transport = uri.getParam("transport")?.toLowerCase() ?? "tcp";
    if (/^sips?$/.test(uri.scheme) && (transport === "tcp" || transport === "tls"))
      return { uri, secure: uri.scheme === "sips" || transport === "tls" };
    throw new TypeError(`relay: ${text} is not a SIP URI with transport=tcp or tls`);
  });
  const [first] = uris;
  if (!first) throw new TypeError("relay: there is none");
  const { secure } = first;
  if (uris.some((one) => one.secure !== secure)) throw new TypeError("relay: some by TLS, and some not");
  const usual = secure ? 5061 : 5060; // RFC 3261 §19.1.2
  return {
    protocol: secure ? "TLS" : "TCP",
    addresses: uris.map(({ uri: { host, port = usual } }) => ({
      connect: (user) => dial(unbracketed(host), port, user, secure ? tls : undefined),
    })),
    host: first.uri.host,
  };
}
