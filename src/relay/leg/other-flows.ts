import type { Bindings } from "../../registrar/bindings.ts";
import type { Clock } from "../../support/clock.ts";
import type { Flow } from "../../transport/types.ts";
import type { LegPort, OtherFlowsPort } from "../model/core.ts";

/**
 * Dialogs whose connection is gone go on by another flow of the same device (RFC 5626 §5.3, §6): one that it has
 * registered already, or the one by which it registers next. Only who has signed in as that user registers there.
 */
export class OtherFlows implements OtherFlowsPort {
  private readonly bindings: Bindings;
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly waiting = new Map<string, Set<LegPort>>();

  constructor(bindings: Bindings, clock: Pick<Clock, "monotonic">) {
    this.bindings = bindings;
    this.clock = clock;
    bindings.watch((user) => this.changed(user));
  }

  /** How many dialogs wait for a device. */
  get size(): number {
    let all = 0;
    for (const legs of this.waiting.values()) all += legs.size;
    return all;
  }

  /** The peer is reached no more. It goes on at once by another flow of its device, or waits for one. */
  look(leg: LegPort): void {
    const { device } = leg;
    if (!device || this.takes(leg)) return;
    const others = this.waiting.get(device.user);
    if (others) others.add(leg);
    else this.waiting.set(device.user, new Set([leg]));
  }

  /** The dialog is over, or its peer has been heard of. */
  forget(leg: LegPort): void {
    const { user } = leg.device ?? {};
    const legs = user === undefined ? undefined : this.waiting.get(user);
    if (legs?.delete(leg) && legs.size === 0) this.waiting.delete(user!);
  }

  private takes(leg: LegPort): boolean {
    const { user, instance } = leg.device!;
    let best: { readonly since: number; readonly flow: Flow } | undefined;
    for (const { instance: of, flow, path, since } of this.bindings.of(user, this.clock.monotonic()))
      if (of === instance && flow?.open && flow.reliable && path.length === 0 && since >= (best?.since ?? since))
        best = { since, flow };
    return best !== undefined && leg.goBy(best.flow);
  }

  private changed(user: string): void {
    for (const leg of [...(this.waiting.get(user) ?? [])])
      if (leg.closed || !leg.stranded || this.takes(leg)) this.forget(leg);
  }
}
