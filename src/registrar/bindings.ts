import type { Flow } from "../transport/types.ts";
import type { Binding } from "./binding.ts";

/** What a REGISTER asks for. `binding` undefined: what has that key goes away. */
export interface Change {
  readonly key: string;
  readonly binding: Binding | undefined;
}

export interface BindingLimits {
  /** Bindings of one user; over it, the one that was refreshed the longest ago makes room. */
  readonly perUser: number;
  /** Bindings of all users; over it, there are no further ones. */
  readonly all: number;
}

/** Who hears of each change, in the order in which they are made. */
export interface BindingListener {
  put(binding: Binding): void;
  /** `binding`: as it was. */
  gone(binding: Binding, why: Gone): void;
}

/** `moved`: another binding of the same user, device and flow stands in its place. */
export type Gone = "removed" | "expired" | "connection" | "displaced" | "elsewhere";

/** `order`: an older REGISTER of the same Call-ID (RFC 3261 §10.3, step 7). */
export type Outcome = "done" | "order" | "full";

/** How often bindings that have expired are looked for. What is asked for in between has none of them. */
export const SWEEP_MS = 5_000;

/** Where all users are reached: the location service of RFC 3261 §10.3, in memory. */
export class Bindings {
  private readonly limits: BindingLimits;
  private readonly byUser = new Map<string, Map<string, Binding>>();
  private readonly byFlow = new Map<Flow, Set<Binding>>();
  private readonly byToken = new Map<string, Binding>();
  private readonly listeners: BindingListener[] = [];
  private readonly watchers: ((user: string) => void)[] = [];
  private count = 0;

  constructor(limits: BindingLimits) {
    this.limits = limits;
  }

  /** How many there are, expired ones included until they are swept away. */
  get size(): number {
    return this.count;
  }

  get users(): number {
    return this.byUser.size;
  }

  listen(listener: BindingListener): void {
    this.listeners.push(listener);
  }

  /** Calls `changed` with each user whose bindings have changed, whoever changed them. */
  watch(changed: (user: string) => void): void {
    this.watchers.push(changed);
  }

  /** The bindings of a user at that time, the newest last. */
  of(user: string, now: number): Binding[] {
    const held = this.byUser.get(user);
    return held ? [...held.values()].filter(({ until }) => until > now) : [];
  }

  /** All of them at that time. */
  *all(now: number): Generator<Binding> {
    for (const held of this.byUser.values())
      for (const binding of held.values()) if (binding.until > now) yield binding;
  }

  /** The binding of a temporary GRUU. */
  named(token: string, now: number): Binding | undefined {
    const binding = this.byToken.get(token);
    return binding && binding.until > now ? binding : undefined;
  }

  /** The device (RFC 5626 §4.1) with which that user came by that connection; undefined: none has registered there. */
  instanceAt(flow: Flow, user: string): string | undefined {
    for (const binding of this.byFlow.get(flow) ?? [])
      if (binding.user === user && binding.instance !== undefined) return binding.instance;
    return undefined;
  }

  /** Makes all of the changes that one REGISTER asks for, or none. `all`: what is not named goes away, too. */
  change(
    user: string,
    { callId, cseq }: Pick<Binding, "callId" | "cseq">,
    changes: readonly Change[],
    now: number,
  ): Outcome {
    const held = this.byUser.get(user);
    let more = 0;
    for (const { key, binding } of changes) {
      const before = held?.get(key);
      // A binding that has expired is none: its device may have begun to count anew.
      if (before && before.until > now && before.callId === callId && cseq <= before.cseq) return "order";
      if (binding && !before) more++;
    }
    if (this.count + more > this.limits.all) {
      this.sweep(now);
      if (this.count + more > this.limits.all) return "full";
    }
    for (const { key, binding } of changes) {
      if (binding) this.put(binding);
      else this.remove(held?.get(key), "removed");
    }
    this.displace(user);
    return "done";
  }

  /** Takes a binding in the place of the one that has its key. */
  put(binding: Binding, told = true): void {
    let held = this.byUser.get(binding.user);
    if (!held) {
      held = new Map();
      this.byUser.set(binding.user, held);
    }
    const before = held.get(binding.key);
    if (before) this.unlink(before);
    else this.count++;
    held.delete(binding.key); // so that the newest stands last
    held.set(binding.key, binding);
    for (const token of binding.temps) this.byToken.set(token, binding);
    const { flow } = binding;
    if (flow) {
      const others = this.byFlow.get(flow);
      if (others) others.add(binding);
      else this.byFlow.set(flow, new Set([binding]));
    }
    if (told) for (const listener of this.listeners) listener.put(binding);
    for (const changed of this.watchers) changed(binding.user);
  }

  /** Takes what another node or the disk has. It does not displace what is newer, and nobody is told. */
  learn(binding: Binding): void {
    const before = this.find(binding.user, binding.key);
    if (before ? before.since > binding.since : this.count >= this.limits.all) return;
    this.put(binding, false);
    this.displace(binding.user, false);
  }

  /** Removes a binding, if it is the one that is held. */
  remove(binding: Binding | undefined, why: Gone, told = true): boolean {
    const held = binding && this.byUser.get(binding.user);
    if (!held || held.get(binding.key) !== binding) return false;
    held.delete(binding.key);
    if (held.size === 0) this.byUser.delete(binding.user);
    this.count--;
    this.unlink(binding);
    if (told) for (const listener of this.listeners) listener.gone(binding, why);
    for (const changed of this.watchers) changed(binding.user);
    return true;
  }

  find(user: string, key: string): Binding | undefined {
    return this.byUser.get(user)?.get(key);
  }

  /** Removes all bindings of a user; returns how many. */
  removeAll(user: string, why: Gone = "removed"): number {
    const held = [...(this.byUser.get(user)?.values() ?? [])];
    for (const binding of held) this.remove(binding, why);
    return held.length;
  }

  /** A connection is gone, and so is what lives by it (RFC 5626 §5.3). */
  flowFailed(flow: Flow): void {
    const lost = this.byFlow.get(flow);
    if (!lost) return;
    this.byFlow.delete(flow);
    for (const binding of lost) {
      if (binding.survives) this.put({ ...binding, flow: undefined }, binding.home === undefined);
      else this.remove(binding, "connection", binding.home === undefined);
    }
  }

  /** Removes what has expired, and whatever belongs to nobody any more. */
  sweep(now: number, isKnown: (user: string) => boolean = () => true): void {
    for (const [user, held] of this.byUser) {
      const known = isKnown(user);
      for (const binding of held.values())
        if (binding.until <= now) this.remove(binding, "expired", binding.home === undefined);
        else if (!known) this.remove(binding, "removed");
    }
  }

  /** What has expired goes first, also if no sweep has come by since. It takes nobody's place. */
  private displace(user: string, told = true): void {
    const held = this.byUser.get(user);
    if (!held || held.size <= this.limits.perUser) return;
    let now = 0;
    for (const { since } of held.values()) now = Math.max(now, since); // the newest came just now
    for (const binding of held.values())
      if (binding.until <= now) this.remove(binding, "expired", told && binding.home === undefined);
    for (const binding of held.values()) {
      if (held.size <= this.limits.perUser) return;
      this.remove(binding, "displaced", told);
    }
  }

  private unlink(binding: Binding): void {
    for (const token of binding.temps) if (this.byToken.get(token) === binding) this.byToken.delete(token);
    const others = binding.flow && this.byFlow.get(binding.flow);
    if (others?.delete(binding) && others.size === 0) this.byFlow.delete(binding.flow!);
  }
}
