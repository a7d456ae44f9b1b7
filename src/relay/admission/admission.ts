import type { Clock } from "../../support/clock.ts";
import { sourceKey } from "../../support/source.ts";
import { type RatesElsewhere, SourceRates } from "../../support/source-rates.ts";
import type { Source } from "./client-source.ts";

/** How many addresses are remembered as not forged. The one that was proved longest ago is forgotten first. */
const MAX_PROVEN = 50_000;
const PROVEN_MS = 3_600_000;

/** Where several nodes keep one limit: what others take, and who is told of an address that is not forged. */
export interface AdmissionElsewhere {
  readonly all: RatesElsewhere;
  readonly unproven: RatesElsewhere;
  /** `key`: see `sourceKey`. */
  proved(key: string): void;
}

/**
 * Limits how many requests are looked at that anybody may send. Each address may send a number in a second. Over UDP
 * that number is much lower until it is proved that the address is not forged, because every answer to a forged address
 * goes to somebody who has not asked. The proof is that something comes back which only that address was told: a nonce,
 * or the tag of a session.
 */
export class Admission {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly all: SourceRates;
  private readonly unproven: SourceRates;
  private readonly elsewhere: AdmissionElsewhere | undefined;
  private readonly proven = new Map<string, number>();

  /** Both numbers are for one second; 0: no bound. `elsewhere`: undefined: this node counts for itself. */
  constructor(
    clock: Pick<Clock, "monotonic">,
    perSource: number,
    perUnprovenSource: number,
    elsewhere?: AdmissionElsewhere,
  ) {
    this.clock = clock;
    this.elsewhere = elsewhere;
    this.all = new SourceRates(perSource, elsewhere?.all);
    this.unproven = new SourceRates(unprovenLimit(perSource, perUnprovenSource), elsewhere?.unproven);
  }

  /** Counts a request; false where it is one too many. */
  take(source: Source): boolean {
    const now = this.clock.monotonic();
    const key = sourceKey(source.remoteAddress);
    // Two tables: there may be any number of forged addresses, and they must not push out the others.
    const known = source.transport !== "udp" || source.byProxy === true || this.isProven(key);
    return known ? this.all.take(key, now) : this.unproven.take(key, now);
  }

  /** A request showed that its sender is where it seems to be. */
  prove({ transport, remoteAddress }: Source): void {
    if (transport !== "udp") return;
    const key = sourceKey(remoteAddress);
    if (this.note(key, 0)) this.elsewhere?.proved(key);
  }

  /** It was shown to another node, so long ago. */
  provedElsewhere(key: string, agoMs: number): void {
    this.note(key, agoMs);
  }

  /** The addresses that are not forged, and how long ago each was proved; the latest last. */
  *provenNow(): Generator<readonly [key: string, agoMs: number]> {
    for (const [key, at] of this.proven) yield [key, this.clock.monotonic() - at];
  }

  /** False: that is known already. */
  private note(key: string, agoMs: number): boolean {
    const at = this.clock.monotonic() - agoMs;
    const before = this.proven.get(key);
    if (before !== undefined && at - before < PROVEN_MS / 2) return false;
    this.proven.delete(key); // to the end of the map
    this.proven.set(key, at);
    if (this.proven.size > MAX_PROVEN) this.proven.delete(this.proven.keys().next().value!);
    return true;
  }

  /** Whether answers to that source are sure to reach the sender of the request. */
  reaches(source: Source): boolean {
    return source.transport !== "udp" || source.byProxy === true || this.isProven(sourceKey(source.remoteAddress));
  }

  private isProven(key: string): boolean {
    const at = this.proven.get(key);
    return at !== undefined && this.clock.monotonic() - at < PROVEN_MS;
  }
}

/** Requests in a second from a source that may be forged; 0: no bound. */
export const unprovenLimit = (perSource: number, perUnprovenSource: number): number =>
  perSource === 0 ? 0 : Math.min(perSource, perUnprovenSource || perSource);
