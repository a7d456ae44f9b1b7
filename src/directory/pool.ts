import { type Clock, systemClock } from "../support/clock.ts";
import type { AppServer } from "./types.ts";

/** An app server as it stands now. */
export interface ServerState {
  readonly server: AppServer;
  readonly up: boolean;
  readonly sessions: number;
  /** The operator has taken it out of service. */
  readonly drained: boolean;
  /** How long no session begins there, since it asked for that; 0: it does not rest. */
  readonly restsForMs: number;
}

interface Entry {
  server: AppServer;
  up: boolean;
  drained: boolean;
  sessions: number;
  /** Until when it rests (no session begins there), in monotonic milliseconds; 0: it does not rest. */
  restsUntil: number;
}

/** Why nobody can take a session of a service now. */
export interface Unavailable {
  /** An app server is up and does not rest, but has as many sessions as its capacity allows. */
  readonly full: boolean;
  /** When the first of those that rest may be asked again, in milliseconds from now; undefined: none of them rests. */
  readonly restsForMs: number | undefined;
}

const DEFAULT_PRIORITY = 10;
const priority = (entry: Entry): number => entry.server.priority ?? DEFAULT_PRIORITY;
const weight = (entry: Entry): number => entry.server.weight ?? 1;

/** The app servers with their health and the sessions they have, found by service (M4). */
export class ServerPool {
  private entries = new Map<string, Entry>();
  /** By service id, the ones of the lowest priority number first. */
  private byService = new Map<string, Entry[]>();
  /** App servers that are no longer in the list, but still have sessions. */
  private readonly retired = new Map<string, Entry>();
  private readonly random: () => number;
  private readonly clock: Pick<Clock, "monotonic">;

  constructor(random: () => number, clock: Pick<Clock, "monotonic"> = systemClock) {
    this.random = random;
    this.clock = clock;
  }

  /**
   * Replaces the list. App servers that were in it before keep their health and sessions. `drained`: those that take no
   * sessions for now.
   */
  replace(servers: readonly AppServer[], drained: ReadonlySet<string> = new Set()): void {
    const entries = new Map<string, Entry>();
    for (const server of servers) {
      const known = this.entries.get(server.id);
      if (known) {
        // Another address is another machine: nothing is known of its health yet.
        if (known.server.uri !== server.uri || known.server.url !== server.url) {
          known.up = true;
          known.restsUntil = 0;
        }
        known.server = server;
      }
      entries.set(server.id, known ?? { server, up: true, drained: false, sessions: 0, restsUntil: 0 });
    }
    // The sessions of an app server that leaves the list are kept, so that they count when it comes back.
    for (const [id, entry] of this.entries) {
      if (!entries.has(id) && entry.sessions > 0) this.retired.set(id, entry);
    }
    for (const [id, entry] of entries) {
      entry.drained = drained.has(id);
      const back = this.retired.get(id);
      if (back) entry.sessions = back.sessions;
      this.retired.delete(id);
    }
    this.entries = entries;
    this.byService = new Map();
    for (const entry of entries.values()) {
      for (const service of new Set(entry.server.services)) {
        const list = this.byService.get(service);
        if (list) list.push(entry);
        else this.byService.set(service, [entry]);
      }
    }
    for (const list of this.byService.values()) list.sort((a, b) => priority(a) - priority(b));
  }

  get(id: string): AppServer | undefined {
    return this.entries.get(id)?.server;
  }

  all(): AppServer[] {
    return [...this.entries.values()].map((entry) => entry.server);
  }

  states(): ServerState[] {
    return Array.from(this.entries.values(), (entry) => {
      const { server, up, drained, sessions } = entry;
      return { server, up, drained, sessions, restsForMs: this.leftMs(entry) };
    });
  }

  offering(service: string, only?: readonly string[]): number {
    const list = this.byService.get(service);
    if (list === undefined) return 0;
    return only === undefined ? list.length : list.filter((entry) => only.includes(entry.server.id)).length;
  }

  /** How many app servers rest now. */
  get resting(): number {
    let count = 0;
    for (const entry of this.entries.values()) if (this.leftMs(entry) > 0) count++;
    return count;
  }

  /** Lets an app server rest for so long, unless it rests longer already. */
  rest(id: string, forMs: number): void {
    const entry = this.entries.get(id);
    if (entry) entry.restsUntil = Math.max(entry.restsUntil, this.clock.monotonic() + forMs);
  }

  /** How long an app server still rests; 0: it does not rest, or there is none of that id. */
  restsForMs(id: string): number {
    const entry = this.entries.get(id);
    return entry ? this.leftMs(entry) : 0;
  }

  private leftMs(entry: Entry): number {
    if (entry.restsUntil === 0) return 0;
    const leftMs = entry.restsUntil - this.clock.monotonic();
    if (leftMs <= 0) entry.restsUntil = 0;
    return Math.max(0, leftMs);
  }

  /** Why `available` has found nobody. */
  unavailable(service: string, only?: readonly string[]): Unavailable {
    let full = false;
    let restsForMs: number | undefined;
    for (const entry of this.byService.get(service) ?? []) {
      if (!entry.up || entry.drained || (only && !only.includes(entry.server.id))) continue;
      const leftMs = this.leftMs(entry);
      if (leftMs === 0) full = true;
      else restsForMs = Math.min(leftMs, restsForMs ?? leftMs);
    }
    return { full, restsForMs };
  }

  /**
   * The app servers that are up, do not rest, and have room, by priority. The order among equals is drawn by weight.
   */
  available(service: string, only?: readonly string[]): AppServer[] {
    const list = this.byService.get(service);
    if (list === undefined) return [];
    const free: Entry[] = [];
    for (const entry of list) {
      if (!entry.up || entry.drained || entry.sessions >= (entry.server.capacity ?? Infinity) || this.leftMs(entry) > 0)
        continue;
      if (only === undefined || only.includes(entry.server.id)) free.push(entry);
    }
    for (let start = 0; start < free.length; ) {
      let end = start + 1;
      while (end < free.length && priority(free[end]!) === priority(free[start]!)) end++;
      if (end - start > 1) this.shuffle(free, start, end);
      start = end;
    }
    return free.map((entry) => entry.server);
  }

  occupy(id: string): void {
    const entry = this.entries.get(id) ?? this.retired.get(id);
    if (entry) entry.sessions++;
  }

  release(id: string): void {
    const entry = this.entries.get(id) ?? this.retired.get(id);
    if (entry === undefined || entry.sessions === 0) return;
    entry.sessions--;
    if (entry.sessions === 0) this.retired.delete(id);
  }

  markHealth(id: string, state: "up" | "down"): void {
    const entry = this.entries.get(id);
    if (entry) entry.up = state === "up";
  }

  /**
   * Draws the entries from `start` to before `end` one after the other, each with a chance in proportion to its weight.
   */
  private shuffle(list: Entry[], start: number, end: number): void {
    let total = 0;
    for (let i = start; i < end; i++) total += weight(list[i]!);
    for (let i = start; i < end - 1; i++) {
      let draw = this.random() * total;
      let chosen = i;
      while (chosen < end - 1 && draw >= weight(list[chosen]!)) draw -= weight(list[chosen++]!);
      const entry = list[chosen]!;
      total -= weight(entry);
      list[chosen] = list[i]!;
      list[i] = entry;
    }
  }
}
