import type { Clock } from "../../support/clock.ts";
import type { Flow } from "../../transport/types.ts";
import type { CameFrom } from "../dialog/reach.ts";
import type { FlowsElsewherePort, LegPort } from "../model/core.ts";

/** What is owed to a peer whose session is over: it is sent as soon as there is a way to that peer. */
interface Owed {
  readonly looked: Looked;
  readonly until: number;
  readonly send: (flow: Flow) => void;
}

interface Looked {
  readonly place: CameFrom;
  readonly legs: Set<LegPort>;
  readonly owed: Set<Owed>;
}

const MOST_OWED = 10_000;

/**
 * Connections of peers that other nodes of the cluster may have. This node has taken a session up whose client came to
 * another node than the one that died; or it has called a node dead that only stood still, and that has its
 * connections still. The clients notice neither: nobody but these nodes can lead to them.
 */
export class FlowsElsewhere implements FlowsElsewherePort {
  private readonly clock: Pick<Clock, "monotonic">;
  private readonly owedForMs: number;
  private readonly byPlace = new Map<string, Looked>();
  private readonly byLeg = new Map<LegPort, Looked>();
  /** What is owed at all places, the oldest first. */
  private readonly owed = new Set<Owed>();
  /** Asks the other nodes for the connection from there, and calls `found` where there is one. */
  private readonly ask: (place: CameFrom) => void;

  /** `owedForMs`: so long a BYE waits for a way to its peer. */
  constructor(options: {
    readonly clock: Pick<Clock, "monotonic">;
    readonly owedForMs: number;
    readonly ask: (place: CameFrom) => void;
  }) {
    this.clock = options.clock;
    this.owedForMs = options.owedForMs;
    this.ask = options.ask;
  }

  /** Where the connections come from that are looked for. */
  places(): CameFrom[] {
    this.forgetOld();
    return Array.from(this.byPlace.values(), ({ place }) => place);
  }

  look(leg: LegPort): void {
    const place = leg.dialog.cameFrom;
    if (!place || place.transport === "udp" || this.byLeg.has(leg)) return;
    const looked = this.lookedAt(place);
    looked.legs.add(leg);
    this.byLeg.set(leg, looked);
  }

  private lookedAt(place: CameFrom): Looked {
    const key = keyOf(place);
    const known = this.byPlace.get(key);
    if (known) return known;
    const looked: Looked = { place, legs: new Set(), owed: new Set() };
    this.byPlace.set(key, looked);
    this.ask(place);
    return looked;
  }

  forget(leg: LegPort): void {
    const looked = this.byLeg.get(leg);
    if (!looked) return;
    this.byLeg.delete(leg);
    looked.legs.delete(leg);
    this.forgetIfDone(looked);
  }

  owes(leg: LegPort, send: (flow: Flow) => void): void {
    const looked = this.byLeg.get(leg);
    if (looked) this.owesAt(looked, send);
  }

  owesTo(place: CameFrom, send: (flow: Flow) => void): void {
    if (this.mayOwe()) this.owesAt(this.lookedAt(place), send);
  }

  private owesAt(looked: Looked, send: (flow: Flow) => void): void {
    if (!this.mayOwe()) return;
    const owed = { looked, until: this.clock.monotonic() + this.owedForMs, send };
    looked.owed.add(owed);
    this.owed.add(owed);
  }

  private mayOwe(): boolean {
    this.forgetOld();
    return this.owed.size < MOST_OWED;
  }

  /** Another node has that connection. */
  found(place: CameFrom, flow: Flow): void {
    this.forgetOld();
    const key = keyOf(place);
    const looked = this.byPlace.get(key);
    if (!looked) return;
    this.byPlace.delete(key);
    for (const owed of looked.owed) this.owed.delete(owed);
    for (const leg of looked.legs) {
      this.byLeg.delete(leg);
      if (leg.stranded && leg.goBy(flow) && !leg.over) leg.session.probe(leg);
    }
    for (const { send } of looked.owed) send(flow);
  }

  private forgetOld(): void {
    const now = this.clock.monotonic();
    for (const owed of this.owed) {
      if (owed.until > now) return;
      this.owed.delete(owed);
      owed.looked.owed.delete(owed);
      this.forgetIfDone(owed.looked);
    }
  }

  private forgetIfDone(looked: Looked): void {
    const { place, legs, owed } = looked;
    const key = keyOf(place);
    if (legs.size + owed.size === 0 && this.byPlace.get(key) === looked) this.byPlace.delete(key);
  }
}

const keyOf = ({ transport, address, port }: CameFrom): string => `${transport} ${address} ${port}`;
