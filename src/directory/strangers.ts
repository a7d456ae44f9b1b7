import type { SipRequest } from "../sip/message.ts";
import { detach } from "../sip/text.ts";
import type { Clock } from "../support/clock.ts";
import { type PeerLog, shown } from "../support/peer-log.ts";
import { sourceKey } from "../support/source.ts";
import { compilePattern, type Pattern } from "./pattern.ts";
import type { Refusal, SignInSource } from "./sign-in.ts";

/** What well-known scanners write into User-Agent: patterns over the whole of it. */
export const SCANNERS = [
  "(?i)friendly-(scanner|request).*",
  "(?i)sipvicious.*",
  "(?i)sipcli.*",
  "(?i)pplsip.*",
  "(?i)VaxSIPUserAgent.*",
  "(?i)sundayddr.*",
  "(?i)sip-?scan.*",
  "(?i)siparmyknife.*",
  "(?i)iWar.*",
  "(?i)smap.*",
];

export interface StrangersSettings {
  /** Patterns over the whole of User-Agent. */
  readonly scanners: readonly string[];
  /** After attempts with so many names of no user within `windowS`, a source gets no answer for `dropS`. 0: never. */
  readonly unknownUsers: number;
  readonly windowS: number;
  readonly dropS: number;
}

/** The log's texts; fail2ban looks for them (ops/fail2ban). */
export const IGNORED = { scanner: "a scanner is not answered", unknown: "unknown users: not answered" } as const;

const MAX_KNOWN = 500;
const MAX_SOURCES = 10_000;

interface Attempts {
  readonly names: Set<string>;
  readonly since: number;
}

/**
 * Those who only look for a way in. They get no answer, not even a refusal: an answer tells a scanner that there is
 * something to come back to.
 *
 * An address in UDP may be forged, so a name counts against an address only if the attempt shows that its sender is
 * there. And a subscriber at the same address who has signed in from there is always answered.
 */
export class Strangers {
  readonly counters = { scannersIgnored: 0, unknownUsersIgnored: 0, sourcesIgnored: 0 };
  private readonly settings: StrangersSettings;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly peers: PeerLog;
  private readonly patterns: Pattern[] = [];
  private readonly known = new Map<string, boolean>();
  private readonly attempts = new Map<string, Attempts>();
  /** Sources that get no answer, and until when. */
  private readonly ignored = new Map<string, number>();

  /** A pattern that cannot be compiled is left out: the configuration was checked before. */
  constructor(settings: StrangersSettings, clock: Pick<Clock, "monotonic">, peers: PeerLog) {
    this.settings = settings;
    this.clock = clock;
    this.peers = peers;
    for (const source of settings.scanners) {
      const pattern = compilePattern(source);
      if (pattern.ok) this.patterns.push(pattern.value);
    }
  }

  /** Whether `ignores` needs to be asked at all. Costs nothing for nearly all requests. */
  mayIgnore(request: SipRequest): boolean {
    return this.ignored.size > 0 || this.isScanner(request);
  }

  /**
   * Whether a request that belongs to no session gets no answer. `isSure`: its address is not forged. `isKnown`:
   * whether the user that it names has signed in from there before; it is asked only where it matters.
   */
  ignores(request: SipRequest, source: SignInSource, isSure: boolean, isKnown: () => boolean): boolean {
    if (this.isScanner(request)) {
      this.counters.scannersIgnored++;
      const userAgent = shown(request.headers.get("user-agent") ?? "");
      this.tell(IGNORED.scanner, request, source, isSure, { userAgent });
      return true;
    }
    const key = sourceKey(source.remoteAddress);
    const until = this.ignored.get(key);
    if (until === undefined || isKnown()) return false;
    if (until <= this.clock.monotonic()) {
      this.ignored.delete(key);
      return false;
    }
    this.counters.unknownUsersIgnored++;
    return true;
  }

  /** A sign-in was refused. */
  readonly refused = (refusal: Refusal): void => {
    const { request, source, user, mayBeForged, isUnknown } = refusal;
    const { unknownUsers, windowS, dropS } = this.settings;
    if (unknownUsers === 0 || isUnknown !== true || mayBeForged === true || user === undefined) return;
    const now = this.clock.monotonic();
    const key = sourceKey(source.remoteAddress);
    let attempts = this.attempts.get(key);
    if (!attempts || now - attempts.since >= windowS * 1000) {
      attempts = { names: new Set(), since: now };
      this.attempts.delete(key); // to the end of the map
      this.attempts.set(key, attempts);
      dropOldest(this.attempts);
    }
    attempts.names.add(detach(user.slice(0, 65)));
    if (attempts.names.size < unknownUsers) return;
    this.attempts.delete(key);
    this.ignored.set(key, now + dropS * 1000);
    dropOldest(this.ignored);
    this.counters.sourcesIgnored++;
    this.tell(IGNORED.unknown, request, source, true, { names: unknownUsers, forS: dropS });
  };

  private isScanner(request: SipRequest): boolean {
    const userAgent = this.patterns.length === 0 ? undefined : request.headers.get("user-agent");
    if (userAgent === undefined) return false;
    const before = this.known.get(userAgent);
    if (before !== undefined) return before;
    const found = this.patterns.some((pattern) => pattern.test(userAgent));
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    this.known.set(detach(userAgent), found);
    return found;
  }

  private tell(what: string, { method }: SipRequest, source: SignInSource, isSure: boolean, more: object): void {
    const { remoteAddress, remotePort, transport, byProxy } = source;
    // In this order: fail2ban's filter reads it.
    this.peers.info(what, sourceKey(remoteAddress), {
      address: remoteAddress,
      port: remotePort,
      transport,
      ...(byProxy && { byProxy: true }),
      ...(!isSure && { mayBeForged: true }),
      method,
      ...more,
    });
  }
}

function dropOldest(map: Map<string, unknown>): void {
  if (map.size > MAX_SOURCES) map.delete(map.keys().next().value!);
}
