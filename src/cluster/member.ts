import type { Beat } from "./beat.ts";
import { DEAD_MS, MOST_PATIENCE_MS, RoundTrip } from "./patience.ts";

/* What is known of one node: what its beats say, what it has confirmed, and whether this node votes against it. */

/** By its beats. Only `Members` writes it. */
export interface Seen {
  beat: Beat;
  heardAt: number;
  /** When it was heard over NATS. */
  natsAt: number;
  state: "up" | "left" | "dead";
  /** Nobody listens at the member's address any more: its process is gone. */
  refused: boolean;
}

/** What the present run of the node says of this one. Only `Safety` writes it. */
export interface Confirmed {
  /** When a beat of this node was said that the member has heard, as it says by a direct beat. */
  directlyAt: number;
  /** How often it has called this node dead. */
  deaths: number;
  /** Until when it cannot call this node dead, less the margin, as it says by its beats. */
  until: number;
  /** The number of the last beat that it has confirmed so. */
  number: number;
  /** The number of this node's record by which it would call this node dead; 0: none. */
  against: number;
  readonly trip: RoundTrip;
}

/** What this node says against the present run of the other one. Only `Missing` writes it. */
export interface Vote {
  /** The number of the run's record by which this node would call it dead; 0: none. */
  record: number;
}

export interface Member extends Readonly<Seen> {
  readonly confirmed: Confirmed;
  readonly vote: Vote;
}

/** What is known of a run of which nothing was heard yet. */
export const notHeard = (): Pick<Member, "confirmed" | "vote"> => ({
  confirmed: {
    directlyAt: Number.NEGATIVE_INFINITY,
    deaths: 0,
    until: Number.NEGATIVE_INFINITY,
    number: 0,
    against: 0,
    trip: new RoundTrip(),
  },
  vote: { record: 0 },
});

/** How long others are to wait for the node before they call it dead. */
export const patienceOf = ({ beat }: Pick<Member, "beat">): number =>
  Math.max(DEAD_MS, Math.min(beat.patienceMs ?? DEAD_MS, MOST_PATIENCE_MS));

/** Whether the address is the one at which the node says that it hears beats. */
export const comesFrom = ({ direct = "" }: Beat, address: string): boolean =>
  direct.slice(0, direct.lastIndexOf(":")).replace(/^\[|\]$/g, "") === address;
