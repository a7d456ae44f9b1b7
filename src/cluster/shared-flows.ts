import type { CameFrom } from "../relay/dialog/reach.ts";
import { FlowsElsewhere } from "../relay/leg/flows-elsewhere.ts";
import type { Core } from "../relay/model/core.ts";
import type { Clock } from "../support/clock.ts";
import { isTransport } from "../transport/kinds.ts";
import type { Flow } from "../transport/types.ts";
import type { NodeRun } from "./beat.ts";
import type { HandOver } from "./hand-over.ts";
import { readFlow, writeFlow } from "./handed.ts";
import type { Line, Talk } from "./talk.ts";

/*
 * A session goes on at another node, and its client's connection is open at a third one, or at the first, which only
 * stood still. The node that has the session asks for it, and again whoever comes.
 *
 *   flow? <transport> <address> <port>          who has the connection from there?
 *   flow <transport> <address> <port> <flow>    this node, and its socket can be used
 */

const MOST_LATE = 10_000;

export class SharedFlows {
  private readonly talk: Talk;
  private readonly clock: Pick<Clock, "monotonic">;
  private flows: FlowsElsewhere | undefined;
  private transport: Core["transport"] | undefined;
  private handOver: Pick<HandOver, "factsOf" | "flowOf"> | undefined;
  /** Whether this node does nothing now: it may have been called dead. */
  private mutes: () => boolean = () => true;
  /** What was asked meanwhile. */
  private readonly late: { readonly line: Line; readonly from: NodeRun }[] = [];

  constructor({ talk, clock }: { readonly talk: Talk; readonly clock: Pick<Clock, "monotonic"> }) {
    this.talk = talk;
    this.clock = clock;
    talk.on("flow?", (line, from) => this.asked(line, from));
    talk.on("flow", (line, from) => this.heard(line, from));
  }

  /** From now on sockets of one node can be used by another. */
  uses(core: Core, handOver: Pick<HandOver, "factsOf" | "flowOf">, mutes: () => boolean): void {
    this.handOver = handOver;
    this.mutes = mutes;
    this.transport = core.transport;
    this.flows = new FlowsElsewhere({
      clock: this.clock,
      owedForMs: core.afterRestart.reconnectS * 1_000,
      ask: (place) => this.talk.tell(lineOf(place), "now"),
    });
    core.flowsElsewhere = this.flows;
  }

  /** The other node has come, or was cut off: it may have what nobody had. */
  greet({ node }: NodeRun): void {
    if (this.flows) this.talk.stream(node, this.flows.places().map(lineOf).values());
  }

  look(): void {
    if (this.late.length > 0 && !this.mutes()) for (const { line, from } of this.late.splice(0)) this.asked(line, from);
  }

  private asked(line: Line, from: NodeRun): void {
    // What the other node sends by that socket would be lost until this one acts again.
    if (this.mutes()) {
      if (this.late.length < MOST_LATE) this.late.push({ line, from });
      return;
    }
    const place = placeIn(line);
    const flow = place && this.transport?.connectionFrom?.(place);
    if (!flow?.open || !this.handOver) return;
    this.talk.tellTo(from.node, ["flow", ...fieldsOf(place!), writeFlow(this.handOver.factsOf(flow, true))]);
  }

  private heard(line: Line, from: NodeRun): void {
    const place = placeIn(line);
    const facts = typeof line[4] === "string" ? readFlow(line[4]) : undefined;
    // Whoever answers can only lead to where the client was: its connection is from there.
    if (!place || !facts || !isSame(place, facts)) return;
    const flow: Flow | undefined = this.handOver?.flowOf(from, facts);
    if (flow) this.flows?.found(place, flow);
  }
}

const fieldsOf = ({ transport, address, port }: CameFrom) => [transport, address, port] as const;
const lineOf = (place: CameFrom): Line => ["flow?", ...fieldsOf(place)];

function placeIn([, transport, address, port]: Line): CameFrom | undefined {
  if (typeof transport !== "string" || typeof address !== "string" || typeof port !== "number") return undefined;
  return isTransport(transport) ? { transport, address, port } : undefined;
}

const isSame = (place: CameFrom, facts: Pick<Flow, "transport" | "remoteAddress" | "remotePort">): boolean =>
  place.transport === facts.transport && place.address === facts.remoteAddress && place.port === facts.remotePort;
