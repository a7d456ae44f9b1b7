import type { Algorithm } from "../sip/digest.ts";
import { detach } from "../sip/text.ts";
import { compilePattern, type Pattern } from "./pattern.ts";

/** Clients that are known to need other algorithms than the rest. */
export interface UserAgentOffer {
  /** A pattern over the whole of User-Agent (RFC 3261 §20.41). */
  readonly userAgent: string;
  /** Which of the operator's algorithms they are offered, in this order. */
  readonly algorithms: readonly Algorithm[];
}

/**
 * Clients that give up at a challenge with SHA-256, although one with MD5 stands beside it. baresip before 3.12 does so
 * wherever SHA-256 stands, SIPp and JsSIP if it comes first. SIP.js reads only the last challenge, which then must be
 * MD5. No order suits them all, so they get MD5 alone.
 */
export const KNOWN_USER_AGENTS: { userAgent: string; algorithms: Algorithm[] }[] = [
  { userAgent: "baresip v([0-2]\\..*|3\\.([0-9]|1[01])\\..*)", algorithms: ["md5"] },
  { userAgent: "SIPp.*", algorithms: ["md5"] },
  { userAgent: "SIP\\.js/.*", algorithms: ["md5"] },
  { userAgent: "JsSIP .*", algorithms: ["md5"] },
];

/** How many user agents are remembered. There are a few hundred, unless somebody makes them up. */
const MAX_KNOWN = 500;

/**
 * Which algorithms a client is offered, and in which order. User-Agent can be forged, so it only chooses among the
 * algorithms that the operator allows for everybody. An attacker who changes it to get MD5 could as well take the other
 * challenges out of the answer (RFC 8760 §4).
 */
export class Offers {
  /** What is offered to all others. */
  readonly usual: readonly Algorithm[];
  private readonly special: { readonly pattern: Pattern; readonly algorithms: readonly Algorithm[] }[] = [];
  private readonly known = new Map<string, readonly Algorithm[]>();

  /** An offer whose pattern cannot be compiled is left out: the configuration was checked before. */
  constructor(usual: readonly Algorithm[], userAgents: readonly UserAgentOffer[]) {
    this.usual = usual;
    for (const { userAgent, algorithms } of userAgents) {
      const pattern = compilePattern(userAgent);
      const allowed = algorithms.filter((name) => usual.includes(name));
      if (pattern.ok && allowed.length > 0) this.special.push({ pattern: pattern.value, algorithms: allowed });
    }
  }

  /** The algorithm of that name (in lower case), if the operator allows it. */
  named(name: string): Algorithm | undefined {
    return this.usual.find((offered) => offered === name);
  }

  /** The algorithms for a client with that User-Agent. */
  to(userAgent: string | undefined): readonly Algorithm[] {
    if (userAgent === undefined || this.special.length === 0) return this.usual;
    const before = this.known.get(userAgent);
    if (before) return before;
    const found = this.special.find(({ pattern }) => pattern.match(userAgent) !== undefined)?.algorithms ?? this.usual;
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    this.known.set(detach(userAgent), found);
    return found;
  }
}
