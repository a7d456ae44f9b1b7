import type { NodeRun } from "./beat.ts";
import type { FlowFacts } from "./handed.ts";
import { remember } from "./remember.ts";
import { RemoteFlow } from "./remote-flow.ts";

/** How many connections of other nodes are remembered. */
const MAX_FLOWS = 50_000;

/** The ways to peers whose sockets other nodes have. */
export class RemoteFlows {
  private readonly send: (to: RemoteFlow, bytes: Buffer) => void;
  private readonly failed: (flow: RemoteFlow, why: string) => void;
  /** By node, epoch and number. */
  private readonly flows = new Map<string, RemoteFlow>();

  constructor(options: {
    /** Has the flow's node send that. */
    readonly send: (to: RemoteFlow, bytes: Buffer) => void;
    /** The flow has ended. */
    readonly failed: (flow: RemoteFlow, why: string) => void;
  }) {
    this.send = options.send;
    this.failed = options.failed;
  }

  flowOf(by: NodeRun, facts: FlowFacts): RemoteFlow {
    const key = keyOf(by, facts.number);
    const known = this.flows.get(key);
    if (known) return known;
    const flow = new RemoteFlow(by, facts, this.send);
    // Nobody need hear of the end of a flow of datagrams; and these are many.
    if (flow.reliable) remember(this.flows, key, flow, MAX_FLOWS);
    return flow;
  }

  /** The node says that the flow has ended. */
  closed(by: NodeRun, number: number): void {
    const key = keyOf(by, number);
    const flow = this.flows.get(key);
    if (flow) this.end(key, flow, "closed at the node that has its socket");
  }

  /** The node is gone, and so are its sockets. */
  gone(node: string): void {
    for (const [key, flow] of this.flows) if (flow.by.node === node) this.end(key, flow, "its node is gone");
  }

  private end(key: string, flow: RemoteFlow, why: string): void {
    this.flows.delete(key);
    flow.open = false;
    this.failed(flow, why);
  }
}

const keyOf = ({ node, epoch }: NodeRun, number: number): string => `${node} ${epoch} ${number}`;
