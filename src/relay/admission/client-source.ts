import type { SignInSource } from "../../directory/sign-in.ts";
import { parseVia } from "../../sip/headers.ts";
import type { SipRequest } from "../../sip/message.ts";
import { canonicalAddress, canonicalHost } from "../../support/address.ts";
import { Networks } from "../../support/networks.ts";
import type { Flow } from "../../transport/types.ts";

/** Where a request comes from, for limits, sign-in and the log. */
export type Source = SignInSource & Pick<Flow, "remoteAddress" | "remotePort" | "transport">;

/**
 * How many proxies may stand one behind the other. With more of them, the address behind the last one counts as the
 * source.
 */
const MAX_PROXIES = 8;
const MAX_HOST = 64;

/**
 * Says where requests come from. Behind one of the operator's proxies, that is not the proxy's address: all of its
 * clients would be one source. It is what the Via below the proxy's Via says (RFC 3261 §18.2.1: `received` where there
 * is one).
 */
export class ClientSources {
  private readonly proxies: Networks;
  private readonly names: ReadonlySet<string>;

  /** `trustedNames`: names in certificates of proxies. */
  constructor(trustedProxies: readonly string[], trustedNames: readonly string[] = []) {
    this.proxies = new Networks(trustedProxies);
    this.names = new Set(trustedNames.map(canonicalHost));
  }

  /** Whether it comes from one of the operator's proxies. */
  isProxy({ remoteAddress, peerNames }: Flow): boolean {
    return this.proxies.includes(remoteAddress) || (peerNames?.some((name) => this.names.has(name)) ?? false);
  }

  of(request: SipRequest, flow: Flow): Source {
    const { proxies } = this;
    if ((proxies.isEmpty && this.names.size === 0) || !this.isProxy(flow)) return flow;
    let { remoteAddress, remotePort } = flow;
    let index = 0;
    for (const value of request.headers.all("via")) {
      // The topmost is the proxy's own.
      if (index++ === 0) continue;
      const via = parseVia(value);
      if (!via.ok || index > MAX_PROXIES) break;
      const host = via.value.params.get("received") || via.value.host;
      // RFC 3261 §18.2.1: where a Via has a name, the proxy adds `received`. So a name here is one that no proxy has
      // checked.
      remoteAddress = canonicalAddress(host) ?? `name:${canonicalHost(host.slice(0, MAX_HOST))}`;
      remotePort = Number(via.value.params.get("rport") || via.value.port || 5060);
      if (!proxies.includes(remoteAddress)) break;
    }
    return { secure: flow.secure, transport: flow.transport, remoteAddress, remotePort, byProxy: true };
  }
}
