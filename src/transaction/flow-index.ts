import type { Flow } from "../transport/types.ts";
import type { Machine } from "./machine.ts";

/**
 * Which machines must hear when a flow fails. A UDP flow is made for one transaction and holds that machine itself. A
 * connection carries many transactions at a time, so it stands in a map.
 */
export class FlowIndex {
  private readonly machines = new Map<Flow, Machine | Set<Machine>>();

  get size(): number {
    return this.machines.size;
  }

  add(flow: Flow, machine: Machine): void {
    if (!flow.reliable && flow.waiting === undefined) {
      flow.waiting = machine;
      return;
    }
    const held = this.machines.get(flow);
    if (held === undefined) this.machines.set(flow, machine);
    else if (held instanceof Set) held.add(machine);
    else this.machines.set(flow, new Set([held, machine]));
  }

  delete(flow: Flow, machine: Machine): void {
    if (flow.waiting === machine) {
      flow.waiting = undefined;
      return;
    }
    if (this.machines.size === 0) return;
    const held = this.machines.get(flow);
    if (held === machine) this.machines.delete(flow);
    else if (held instanceof Set && held.delete(machine) && held.size === 0) this.machines.delete(flow);
  }

  /** The machines on that flow. They are removed from the index. */
  take(flow: Flow): Iterable<Machine> {
    const own = flow.waiting === undefined ? [] : [flow.waiting as Machine];
    flow.waiting = undefined;
    const held = this.machines.get(flow);
    if (held === undefined) return own;
    this.machines.delete(flow);
    return held instanceof Set ? [...own, ...held] : [...own, held];
  }
}
