import { appServerIn, appServerOf, PLACE, type RegisteredAppServer } from "../registrar/app-servers.ts";
import type { Binding } from "../registrar/binding.ts";
import { SWEEP_MS } from "../registrar/bindings.ts";
import { publicGruu } from "../registrar/gruu.ts";
import type { Core } from "../relay/model/core.ts";
import type { TimerHandle } from "../support/clock.ts";
import { hostPort } from "../transport/via.ts";

/** One address of a user, for people to look at. */
export interface RegistrationView {
  readonly user: string;
  readonly contact: string;
  /** Where the device was when it registered. */
  readonly from: string;
  /** The device's connection is up; missing: it is reached without one. */
  readonly connected?: boolean;
  readonly instance?: string;
  readonly regId?: number;
  /** The URI that names this device and no other (RFC 5627). */
  readonly gruu?: string;
  readonly path?: readonly string[];
  readonly userAgent?: string;
  readonly q: number;
  /** Seconds since it was made or refreshed, and until it ends. */
  readonly sinceS: number;
  readonly leftS: number;
}

/** Looks after the addresses of users while the relay runs. */
export class Registrations {
  private readonly core: Core;
  private readonly appServers = new Map<string, RegisteredAppServer>();
  private timer: TimerHandle;

  constructor(core: Core) {
    this.core = core;
    core.bindings.watch((user) => {
      const id = appServerIn(user);
      if (id !== undefined) this.tellDirectory(id, user);
    });
  }

  /** What an app server has registered is in the directory at once. */
  private tellDirectory(id: string, user: string): void {
    const { appServers } = this;
    const binding = this.core.bindings.find(user, PLACE);
    const now = binding && appServerOf(binding);
    const before = appServers.get(id);
    if (now?.uri === before?.uri && now?.services.join() === before?.services.join()) return; // a refresh
    if (now) appServers.set(id, now);
    else appServers.delete(id);
    this.core.directory.registered([...appServers.values()]);
  }

  start(): void {
    this.core.directory.whenLoaded(() => this.sweep());
    this.wait();
  }

  stop(): void {
    this.core.clock.clearTimeout(this.timer);
  }

  /** Those of one user, or of all. */
  views(user?: string): RegistrationView[] {
    const { bindings, clock } = this.core;
    const now = clock.monotonic();
    return [...(user === undefined ? bindings.all(now) : bindings.of(user, now))].map((one) => viewOf(one, now));
  }

  /** Removes what a user has registered; returns how many. A device registers again when its time is over. */
  remove(user: string): number {
    const removed = this.core.bindings.removeAll(user);
    this.core.log.warn({ user, removed }, "an operator has removed what a user had registered");
    return removed;
  }

  private wait(): void {
    this.timer = this.core.clock.setTimeout(() => {
      this.sweep();
      this.wait();
    }, SWEEP_MS);
  }

  private sweep(): void {
    const { bindings, clock, directory } = this.core;
    bindings.sweep(clock.monotonic(), (user) => {
      const appServer = appServerIn(user);
      if (appServer !== undefined) return directory.keysOf(appServer).some(({ serves }) => serves !== undefined);
      const found = directory.user(user);
      return found !== undefined && found.blocked === undefined;
    });
  }
}

function viewOf(binding: Binding, now: number): RegistrationView {
  const { user, contact, cameFrom, flow, survives, instance, regId, path, userAgent, q, since, until } = binding;
  return {
    user,
    contact,
    from: `${cameFrom.transport}/${hostPort(cameFrom.address, cameFrom.port)}`,
    ...(flow && !survives && { connected: flow.open }),
    ...(instance !== undefined && { instance, gruu: publicGruu(binding) }),
    ...(regId !== undefined && { regId }),
    ...(path.length > 0 && { path }),
    ...(userAgent !== "" && { userAgent }),
    q,
    sinceS: Math.round((now - since) / 1000),
    leftS: Math.max(0, Math.round((until - now) / 1000)),
  };
}
