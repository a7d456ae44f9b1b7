import type { Clock } from "../../support/clock.ts";
import { sourceKey } from "../../support/source.ts";
import { SourceRates } from "../../support/source-rates.ts";
import type { Source } from "./client-source.ts";

/** Addresses that are known to be no forged ones; the one that was proved longest ago goes first. */
const MAX_PROVEN = 50_000;
const PROVEN_MS = 3_600_000;

/**
 * How many requests that may come from anybody are looked at. Each address has a number in a second; over UDP it is
 * much lower as long as nothing shows that the address is not forged, since every answer to a forged one goes to
 * somebody who has not asked. What shows it is that something came back which only that address has been told: a
 * nonce, the tag of a session.
 */
export class Admission {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly all: SourceRates;
  private readonly unproven: SourceRates;
  private readonly proven = new Map<string, number>();

  /** Both in a second; 0: no bound. */
  constructor(clock: Pick<Clock, "monotonic">, perSource: number, perUnprovenSource: number) {
    this.clock = clock;
    this.all = new SourceRates(perSource);
    this.unproven = new SourceRates(perSource === 0 ? 0 : Math.min(perSource, perUnprovenSource || perSource));
  }

  /** Counts a request; false where it is one too many. */
  take(source: Source): boolean {
    const now = this.clock.monotonic();
    const key = sourceKey(source.remoteAddress);
    // Tables of their own: forged addresses, of which there may be any number, do not push out others.
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

  /** Whether answers to that source reach whoever asked. */
  reaches(source: Source): boolean {
    return source.transport !== "udp" || source.byProxy === true || this.isProven(sourceKey(source.remoteAddress));
  }

  private isProven(key: string): boolean {
    const at = this.proven.get(key);
    return at !== undefined && this.clock.monotonic() - at < PROVEN_MS;
  }
}
