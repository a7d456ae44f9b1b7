import type { Flow } from "../transport/types.ts";
import type { NodeRun } from "./beat.ts";
import type { FlowFacts } from "./handed.ts";
import { remember } from "./remember.ts";

/** How many flows of datagrams are remembered, so that answers can come back. Connections are until they end. */
const MAX_FLOWS = 50_000;

/** The flows of this node's peers that other nodes know by number, and which nodes use them. */
export class OwnFlows {
  private readonly others: () => readonly string[];
  private readonly contactFor: (flow: Flow) => string;
  private number: number;
  private readonly flows = new Map<number, Flow>();
  private readonly numbers = new Map<Flow, number>();
  /** Which nodes have been handed something that came by a connection, or send by a flow of datagrams. */
  private readonly users = new Map<Flow | string, Set<string>>();

  constructor(options: {
    readonly self: NodeRun;
    /** The other nodes that are up. */
    readonly others: () => readonly string[];
    readonly contactFor: (flow: Flow) => string;
  }) {
    const { self, others, contactFor } = options;
    this.number = firstNumber(self);
    this.others = others;
    this.contactFor = contactFor;
  }

  /** A flow as other nodes know it. `isGiven`: other nodes use it from now on. */
  factsOf(flow: Flow, isGiven: boolean): FlowFacts {
    let number = this.numbers.get(flow);
    if (number === undefined) {
      number = ++this.number;
      this.numbers.set(flow, number);
      this.flows.set(number, flow);
      if (!flow.reliable) this.forgetDatagrams();
    }
    if (isGiven) for (const node of this.others()) this.usedBy(flow, node);
    const { transport, reliable, secure, remoteAddress, remotePort, cameTo = "" } = flow;
    return { number, transport, reliable, secure, remoteAddress, remotePort, cameTo, contact: this.contactFor(flow) };
  }

  of(number: number): Flow | undefined {
    return this.flows.get(number);
  }

  usedBy(flow: Flow, node: string): void {
    flow.proven = true;
    const place = placeOf(flow);
    const nodes = this.users.get(place);
    if (nodes) nodes.add(node);
    else if (flow.reliable) this.users.set(flow, new Set([node]));
    else remember(this.users, place, new Set([node]), MAX_FLOWS);
  }

  usersOf(flow: Flow): Iterable<string> {
    return this.users.get(placeOf(flow)) ?? [];
  }

  /** The flow is gone. Returns the number by which other nodes knew it, if they did, and which used it. */
  ended(flow: Flow): { readonly number: number; readonly users: Iterable<string> } | undefined {
    const number = this.numbers.get(flow);
    if (number === undefined) return undefined;
    this.numbers.delete(flow);
    this.flows.delete(number);
    const users = this.users.get(flow) ?? [];
    this.users.delete(flow);
    return { number, users };
  }

  /** The node uses no flows any more. */
  gone(node: string): void {
    for (const nodes of this.users.values()) nodes.delete(node);
  }

  /** Keeps the flows of datagrams within their bound. */
  private forgetDatagrams(): void {
    if (this.flows.size <= MAX_FLOWS) return;
    for (const [number, flow] of this.flows) {
      if (flow.reliable) continue;
      this.flows.delete(number);
      this.numbers.delete(flow);
      return;
    }
  }
}

/** So no number is of use in the run after this one: what is late for a flow does not go out by another. */
export const firstNumber = ({ epoch }: NodeRun): number => (epoch % 100_000) * 1e9;

/** A flow of datagrams is made anew for each that comes, and is the same all the time. */
const placeOf = (flow: Flow): Flow | string => (flow.reliable ? flow : flow.id);
