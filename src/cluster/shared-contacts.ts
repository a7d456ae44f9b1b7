import type { Binding } from "../registrar/binding.ts";
import type { BindingListener, Bindings } from "../registrar/bindings.ts";
import { bindingIn, dataOf } from "../registrar/store.ts";
import type { Clock } from "../support/clock.ts";
import type { NodeRun } from "./beat.ts";
import type { HandOver } from "./hand-over.ts";
import { readFlow, writeFlow } from "./handed.ts";
import type { Line, Talk } from "./talk.ts";

/*
 * What clients have registered, at every node. The node to which a client came tells the others, and what they send to
 * that client goes out by its socket there. When that node dies, its connections are gone, and so is what lives by
 * them. A client of UDP is then reached directly.
 *
 *   contact <binding as JSON> [<flow>]      made or refreshed; its times are told from now on
 *   no-contact <user> <key> <node>          gone, if it is a client of that node
 */

export class SharedContacts {
  private readonly talk: Talk;
  private readonly clock: Pick<Clock, "monotonic">;
  private bindings: Bindings | undefined;
  private handOver: Pick<HandOver, "factsOf" | "flowOf"> | undefined;

  constructor({ talk, clock }: { readonly talk: Talk; readonly clock: Pick<Clock, "monotonic"> }) {
    this.talk = talk;
    this.clock = clock;
    talk.on("contact", ([, json, flow], from) => this.heard(json, flow, from));
    talk.on("no-contact", ([, user, key, home], from) => this.heardGone(user, key, home, from));
  }

  attach(bindings: Bindings): void {
    this.bindings = bindings;
    bindings.listen(this.listener);
  }

  /** From now on sockets of one node can be used by another. */
  uses(handOver: Pick<HandOver, "factsOf" | "flowOf">): void {
    this.handOver = handOver;
  }

  private readonly listener: BindingListener = {
    put: (binding) => this.talk.tell(this.lineOf(binding)),
    gone: ({ user, key, home }) => this.talk.tell(["no-contact", user, key, home ?? this.talk.self.node]),
  };

  /** The other node gets what came to this one. */
  greet({ node }: NodeRun): void {
    if (this.bindings) this.talk.stream(node, this.ownLines(this.bindings));
  }

  /** A node is not there any more. */
  gone(node: string): void {
    const { bindings } = this;
    if (!bindings) return;
    for (const binding of [...bindings.all(this.clock.monotonic())]) {
      if (binding.home !== node) continue;
      if (binding.survives) bindings.learn({ ...binding, flow: undefined, home: undefined });
      else bindings.remove(binding, "connection", false);
    }
  }

  private *ownLines(bindings: Bindings): Generator<Line> {
    for (const binding of bindings.all(this.clock.monotonic()))
      if (binding.home === undefined) yield this.lineOf(binding);
  }

  private lineOf(binding: Binding): Line {
    const json = JSON.stringify(dataOf(binding, this.clock.monotonic()));
    const { flow } = binding;
    const facts = flow?.open ? this.handOver?.factsOf(flow, true) : undefined;
    return facts ? ["contact", json, writeFlow(facts)] : ["contact", json];
  }

  private heard(json: unknown, flow: unknown, from: NodeRun): void {
    const binding = typeof json === "string" ? bindingIn(read(json), this.clock.monotonic()) : undefined;
    if (!binding || !this.bindings) return;
    const facts = typeof flow === "string" ? readFlow(flow) : undefined;
    const way = facts && this.handOver?.flowOf(from, facts);
    if (!way && !binding.survives) return; // nothing here leads to it
    this.bindings.learn({ ...binding, home: from.node, ...(way && { flow: way }) });
  }

  private heardGone(user: unknown, key: unknown, home: unknown, from: NodeRun): void {
    if (typeof user !== "string" || typeof key !== "string" || !this.bindings) return;
    const held = this.bindings.find(user, key);
    const isOf = held && (held.home ?? this.talk.self.node);
    if (isOf === home || isOf === from.node) this.bindings.remove(held, "elsewhere", false);
  }
}

function read(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
