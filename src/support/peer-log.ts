import { type Clock, type TimerHandle, unref } from "./clock.ts";
import type { Logger } from "./log.ts";

export interface PeerLogOptions {
  /** Undefined: nothing is written, but lines over the limits are counted all the same. */
  readonly log: Logger | undefined;
  readonly clock: Pick<Clock, "monotonic" | "setTimeout" | "clearTimeout">;
  /** Lines of one kind for one source in a minute; default 10. */
  readonly perSource?: number;
  /** Lines of one kind in a minute, for all sources together; default 200. */
  readonly perKind?: number;
}

type Level = "debug" | "info" | "warn" | "error";

const WINDOW_MS = 60_000;
const PER_SOURCE = 10;
const PER_KIND = 200;

/** What was logged of one kind in the present minute. */
interface Window {
  readonly level: Level;
  endsAt: number;
  lines: number;
  leftOut: number;
  /** Lines of each source. Never more sources than `perKind`, since after that many lines nothing is written. */
  sources: Map<string, number>;
}

/**
 * The log for everything that a peer can cause as often as it likes. Each kind of line is written a few times a minute
 * for each source, and the number of lines left out follows at the end of the minute. So no peer fills the disk, and
 * none hides what another does. Kinds are texts of the code, never of a peer.
 */
export class PeerLog {
  /** Lines that were not written. */
  leftOut = 0;
  private readonly options: PeerLogOptions;
  private readonly perSource: number;
  private readonly perKind: number;
  private readonly windows = new Map<string, Window>();
  private timer: TimerHandle | undefined;

  constructor(options: PeerLogOptions) {
    this.options = options;
    this.perSource = options.perSource ?? PER_SOURCE;
    this.perKind = options.perKind ?? PER_KIND;
  }

  debug(kind: string, source: string, facts: object): void {
    this.write("debug", kind, source, facts);
  }

  info(kind: string, source: string, facts: object): void {
    this.write("info", kind, source, facts);
  }

  warn(kind: string, source: string, facts: object): void {
    this.write("warn", kind, source, facts);
  }

  error(kind: string, source: string, facts: object): void {
    this.write("error", kind, source, facts);
  }

  /** Logs how many lines were left out so far, and ends the timer. */
  close(): void {
    this.options.clock.clearTimeout(this.timer);
    this.timer = undefined;
    for (const [kind, window] of this.windows) this.tellLeftOut(kind, window);
    this.windows.clear();
  }

  private write(level: Level, kind: string, source: string, facts: object): void {
    if (this.takes(level, kind, source)) this.options.log?.[level](facts, kind);
  }

  /**
   * Whether one more line of that kind may be written for that source now. If so, it counts as written by the caller.
   */
  takes(level: Level, kind: string, source: string): boolean {
    const now = this.options.clock.monotonic();
    let window = this.windows.get(kind);
    if (window === undefined || now >= window.endsAt) {
      if (window) this.tellLeftOut(kind, window);
      window = { level, endsAt: now + WINDOW_MS, lines: 0, leftOut: 0, sources: new Map() };
      this.windows.set(kind, window);
    }
    const before = window.sources.get(source) ?? 0;
    if (before >= this.perSource || window.lines >= this.perKind) {
      this.leftOut++;
      window.leftOut++;
      this.tellLater();
      return false;
    }
    window.sources.set(source, before + 1);
    window.lines++;
    return true;
  }

  private tellLater(): void {
    this.timer ??= this.options.clock.setTimeout(() => this.minuteOver(), WINDOW_MS);
    // The timer does not keep a process alive that has nothing else to do.
    unref(this.timer);
  }

  private minuteOver(): void {
    this.timer = undefined;
    const now = this.options.clock.monotonic();
    for (const [kind, window] of this.windows) {
      if (now < window.endsAt) {
        if (window.leftOut > 0) this.tellLater();
        continue;
      }
      this.tellLeftOut(kind, window);
      this.windows.delete(kind);
    }
  }

  private tellLeftOut(kind: string, { level, leftOut, sources }: Window): void {
    if (leftOut > 0)
      this.options.log?.[level]({ leftOut, sources: sources.size }, `${kind}: further lines of this kind`);
  }
}

/**
 * A peer's text in a form that is safe in a log, also in one that programs search: short printable ASCII, without
 * quotes and backslashes.
 */
export function shown(text: string, length = 64): string {
  return text.slice(0, length).replace(/[^\x20-\x7e]|["\\]/g, "?");
}

/**
 * The same for text that holds URIs or parts of them. What stands behind the second colon of a URI is left out, since
 * it may be a password (RFC 3261 §19.1.1).
 */
export function shownUris(text: string, length = 64): string {
  const cut = text.slice(0, length);
  return shown(hasTwoColons(cut) ? cut.replace(MAY_BE_PASSWORD, "$1:*") : cut, length);
}

/** Whether two colons have no @ between them. Most URIs have none, and need no look at what may be a password. */
function hasTwoColons(text: string): boolean {
  let colon = text.indexOf(":");
  while (colon >= 0) {
    const next = text.indexOf(":", colon + 1);
    if (next < 0) return false;
    const at = text.indexOf("@", colon);
    if (at < 0 || at > next) return true;
    colon = next;
  }
  return false;
}

const MAY_BE_PASSWORD = /([a-z][a-z0-9+.-]{0,20}:[^\s:@]*):[^\r\n]*/gi;
