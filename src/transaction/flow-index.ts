import type { Flow } from "../transport/types.ts";
import type { Machine } from "./machine.ts";

/**
 * Which machines must hear when a flow fails. Most flows carry one transaction at a time, those to app servers many: the one is kept as
 * it is, many in a set.
 */
export class FlowIndex {
  private readonly machines = new Map<Flow, Machine | Set<Machine>>();

  get size(): number {
    return this.machines.size;
  }

  add(flow: Flow, machine: Machine): void {
    const held = this.machines.get(flow);
    if (held === undefined) this.machines.set(flow, machine);
    else if (held instanceof Set) held.add(machine);
    else this.machines.set(flow, new Set([held, machine]));
  }

  delete(flow: Flow, machine: Machine): void {
    const held = this.machines.get(flow);
    if (held === machine) this.machines.delete(flow);
    else if (held instanceof Set && held.delete(machine) && held.size === 0) this.machines.delete(flow);
  }

  /** The machines on that flow, which are no longer kept here. */
  take(flow: Flow): Iterable<Machine> {
    const held = this.machines.get(flow);
    if (held === undefined) return [];
    this.machines.delete(flow);
    return held instanceof Set ? held : [held];
  }
}
