import type { Algorithm } from "../sip/digest.ts";
import { detach } from "../sip/text.ts";
import { compilePattern, type Pattern } from "./pattern.ts";

/** Clients of which it is known that they need other algorithms than the rest. */
export interface UserAgentOffer {
  /** A pattern over the whole of User-Agent (RFC 3261 §20.41). */
  readonly userAgent: string;
  /** What they are offered of the operator's algorithms, in this order. */
  readonly algorithms: readonly Algorithm[];
}

/**
 * Those that give up at a challenge with SHA-256 although MD5 stands beside it: baresip before 3.12 wherever it
 * stands, SIPp and JsSIP where it is the first, SIP.js, which reads the last one only, where that is another than
 * MD5. One that comes last for one comes first for the other: they get MD5 alone.
 */
export const KNOWN_USER_AGENTS: { userAgent: string; algorithms: Algorithm[] }[] = [
  { userAgent: "baresip v([0-2]\\..*|3\\.([0-9]|1[01])\\..*)", algorithms: ["md5"] },
  { userAgent: "SIPp.*", algorithms: ["md5"] },
  { userAgent: "SIP\\.js/.*", algorithms: ["md5"] },
  { userAgent: "JsSIP .*", algorithms: ["md5"] },
];

/** User agents are a few hundred texts, unless somebody makes them up. */
const MAX_KNOWN = 500;

/**
 * Which algorithms a client is offered, and in which order. User-Agent can be forged, and so it only ever chooses
 * among what the operator allows to everybody: whoever could make it say MD5 could as well take the other challenges
 * out of the answer (RFC 8760 §4).
 */
export class Offers {
  /** What is offered to all others. */
  readonly usual: readonly Algorithm[];
  private readonly special: { readonly pattern: Pattern; readonly algorithms: readonly Algorithm[] }[] = [];
  private readonly known = new Map<string, readonly Algorithm[]>();

  /** Of the user agents, those whose pattern is none are left out: the configuration was checked before. */
  constructor(usual: readonly Algorithm[], userAgents: readonly UserAgentOffer[]) {
    this.usual = usual;
    for (const { userAgent, algorithms } of userAgents) {
      const pattern = compilePattern(userAgent);
      const allowed = algorithms.filter((name) => usual.includes(name));
      if (pattern.ok && allowed.length > 0) this.special.push({ pattern: pattern.value, algorithms: allowed });
    }
  }

  /** The algorithm of that name, in lower case, where any client may be offered it. */
  named(name: string): Algorithm | undefined {
    return this.usual.find((offered) => offered === name);
  }

  /** The algorithms for whoever calls itself that in User-Agent. */
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
