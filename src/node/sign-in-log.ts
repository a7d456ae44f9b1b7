import type { Refusal } from "../directory/authenticator.ts";
import { type PeerLog, shown } from "../support/peer-log.ts";
import { sourceKey } from "../support/source.ts";

/** The log's text for a refused sign-in; fail2ban looks for it (ops/fail2ban). */
export const REFUSED = {
  user: "sign-in refused",
  appServer: "charges: sign-in refused",
  token: "api: sign-in refused",
} as const;

/** Refused sign-ins for the operator: a line of the log with user, address and reason, and counts. */
export class SignInLog {
  readonly counters = { signInsRefused: 0, signInsHeldOff: 0, lockOuts: 0 };
  private readonly peers: PeerLog;

  constructor(peers: PeerLog) {
    this.peers = peers;
  }

  /** Notes a refused sign-in that came by SIP. */
  readonly user = (refusal: Refusal): void => this.tell(REFUSED.user, refusal);
  readonly appServer = (refusal: Refusal): void => this.tell(REFUSED.appServer, refusal);

  private tell(what: string, { request, source, user, reason, waitS, lockOut, mayBeForged }: Refusal): void {
    if (waitS === undefined) this.counters.signInsRefused++;
    else this.counters.signInsHeldOff++;
    const from = sourceKey(source.remoteAddress);
    this.peers.info(what, from, {
      address: source.remoteAddress,
      port: source.remotePort,
      transport: source.transport,
      ...(source.byProxy && { byProxy: true }),
      ...(mayBeForged && { mayBeForged: true }),
      user: user === undefined ? undefined : shown(user),
      method: request.method,
      callId: shown(request.callId),
      userAgent: request.headers.has("user-agent") ? shown(request.headers.get("user-agent")!) : undefined,
      why: reason,
      waitS,
    });
    if (!lockOut) return;
    this.counters.lockOuts++;
    this.peers.warn("sign-in: too many failures, further ones have to wait", from, {
      source: lockOut.source,
      user: lockOut.user === undefined ? "any who is not known there" : shown(lockOut.user),
      failures: lockOut.failures,
      waitS: Math.ceil(lockOut.waitMs / 1000),
    });
  }
}
