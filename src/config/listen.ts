import { isIPv4, isIPv6 } from "node:net";
import { canonicalHost } from "../support/address.ts";
import { err, ok, type Result } from "../support/result.ts";
import { isOpenTransport, KINDS, OPEN_TRANSPORTS, type TransportName } from "../transport/kinds.ts";

/** One address on which the relay takes SIP messages. */
export interface ListenAddress {
  readonly transport: TransportName;
  /** An IP address of this machine; IPv6 without brackets. `0.0.0.0` and `::` stand for all. */
  readonly address: string;
  /** 0: any free port (tests). */
  readonly port: number;
  /** The address that Via and Contact name instead, behind address translation. */
  readonly advertised?: { readonly host: string; readonly port?: number };
  /** Which networks may come, and which may not. */
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  /** Networks of load balancers that begin their connections with the PROXY protocol. */
  readonly proxyProtocol?: readonly string[];
}

export interface HostPort {
  readonly host: string;
  readonly port?: number;
}

export const LISTEN_EXPECTED = `an address such as udp:127.0.0.1:5060 or tcp:[::1]:5060 (${OPEN_TRANSPORTS.join(", ")})`;
export const HOST_PORT_EXPECTED = "a host with or without a port, such as 203.0.113.5 or sip.portal.example:5060";

/**
 * Reads `udp:127.0.0.1:5060`, `tls:[::1]:5061`, `udp:127.0.0.1` (the default port of the transport). The error says
 * what was expected.
 */
export function parseListen(text: string): Result<ListenAddress, string> {
  const colon = text.indexOf(":");
  const transport = text.slice(0, colon < 0 ? text.length : colon).toLowerCase();
  if (colon < 0 || !isOpenTransport(transport)) return err(LISTEN_EXPECTED);
  const rest = parseHostPort(text.slice(colon + 1));
  if (!rest.ok) return err(LISTEN_EXPECTED);
  const { host, port = KINDS[transport].port } = rest.value;
  if (!isIp(host))
    return err(`an IP address of this machine instead of a name, such as ${transport}:127.0.0.1:${port}`);
  return ok({ transport, address: canonicalHost(host), port });
}

/** Reads `host`, `host:port`, `[v6]`, `[v6]:port`; the brackets are dropped. */
export function parseHostPort(text: string): Result<HostPort, string> {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]@;?/]+))(?::(\d{1,5}))?$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = match?.[3] === undefined ? undefined : Number(match[3]);
  if (host === undefined || (port !== undefined && port > 65535)) return err(HOST_PORT_EXPECTED);
  if (match?.[1] !== undefined && !isIPv6(host)) return err(HOST_PORT_EXPECTED);
  return ok(port === undefined ? { host } : { host, port });
}

export const isIp = (host: string): boolean => isIPv4(host) || isIPv6(host);
