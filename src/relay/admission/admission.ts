import type { Clock } from "../../support/clock.ts";
import { sourceKey } from "../../support/source.ts";
import { SourceRates } from "../../support/source-rates.ts";
import type { Source } from "./client-source.ts";

/** How many addresses are remembered as not forged. The one that was proved longest ago is forgotten first. */
const MAX_PROVEN = 50_000;
const PROVEN_MS = 3_600_000;

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
  private readonly proven = new Map<string, number>();

  /** Both numbers are for one second; 0: no bound. */
  constructor(clock: Pick<Clock, "monotonic">, perSource: number, perUnprovenSource: number) {
    this.clock = clock;
    this.all = new SourceRates(perSource);
    this.unproven = new SourceRates(perSource === 0 ? 0 : Math.min(perSource, perUnprovenSource || perSource));
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
    const now = this.clock.monotonic();
    const key = sourceKey(remoteAddress);
    const before = this.proven.get(key);
    if (before !== undefined && now - before < PROVEN_MS / 2) return;
    this.proven.delete(key); // to the end of the map
    this.proven.set(key, now);
    if (this.proven.size > MAX_PROVEN) this.proven.delete(this.proven.keys().next().value!);
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
