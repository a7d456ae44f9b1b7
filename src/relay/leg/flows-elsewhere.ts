import type { Clock } from "../../support/clock.ts";
import type { Flow } from "../../transport/types.ts";
import type { CameFrom } from "../dialog/reach.ts";
import type { FlowsElsewherePort, LegPort } from "../model/core.ts";

/** What is owed to a peer whose session is over: it is sent as soon as there is a way to that peer. */
interface Owed {
  readonly key: string;
  readonly until: number;
  readonly send: (flow: Flow) => void;
}

interface Looked {
  readonly place: CameFrom;
  readonly legs: Set<LegPort>;
  owed: number;
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
  private readonly owed: Owed[] = [];
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

  /** How many dialogs wait. */
  get size(): number {
    return this.byLeg.size;
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
    const looked: Looked = { place, legs: new Set(), owed: 0 };
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
    this.forgetOld();
    if (this.owed.length < MOST_OWED) this.owesAt(this.lookedAt(place), send);
  }

  private owesAt(looked: Looked, send: (flow: Flow) => void): void {
    this.forgetOld();
    if (this.owed.length >= MOST_OWED) return;
    looked.owed++;
    this.owed.push({ key: keyOf(looked.place), until: this.clock.monotonic() + this.owedForMs, send });
  }

  /** Another node has that connection. */
  found(place: CameFrom, flow: Flow): void {
    this.forgetOld();
    const key = keyOf(place);
    const looked = this.byPlace.get(key);
    if (!looked) return;
    this.byPlace.delete(key);
    const due = this.owed.filter((one) => one.key === key);
    for (const one of due) this.owed.splice(this.owed.indexOf(one), 1);
    for (const leg of looked.legs) {
      this.byLeg.delete(leg);
      if (leg.stranded && leg.goBy(flow) && !leg.over) leg.session.probe(leg);
    }
    for (const { send } of due) send(flow);
  }

  private forgetOld(): void {
    const now = this.clock.monotonic();
    const young = this.owed.findIndex(({ until }) => until > now);
    for (const { key } of this.owed.splice(0, young < 0 ? this.owed.length : young)) {
      const looked = this.byPlace.get(key);
      if (!looked) continue;
      looked.owed--;
      this.forgetIfDone(looked);
    }
  }

  private forgetIfDone(looked: Looked): void {
    const key = keyOf(looked.place);
    if (looked.legs.size === 0 && looked.owed === 0 && this.byPlace.get(key) === looked) this.byPlace.delete(key);
  }
}

const keyOf = ({ transport, address, port }: CameFrom): string => `${transport} ${address} ${port}`;
