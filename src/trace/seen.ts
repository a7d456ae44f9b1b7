import type { CallRecord } from "../calls/record.ts";

/** An address that a message came from or went to. */
export interface Place {
  readonly transport: string;
  readonly address: string;
  readonly port: number;
}

/** A message of a call. Its bytes are as they were on the wire: whoever shows them masks them first. */
export interface SeenMessage {
  readonly kind: "message";
  readonly at: number;
  readonly direction: "in" | "out";
  /** The relay's own place, and the other's. */
  readonly local: Place;
  readonly peer: Place;
  /** `client`, or the id of an app server. */
  readonly leg: string;
  readonly callId: string;
  readonly bytes: Buffer;
}

/** A chart has moved: from one state to another, or it has taken an event where it is. */
export interface SeenState {
  readonly kind: "state";
  readonly at: number;
  /** `request`, `session`, `transfer` or `billing`. */
  readonly chart: string;
  readonly actor: string;
  /** `xstate.init`: the actor begins, or goes on from what was kept of it; then `from` is "". */
  readonly event: string;
  readonly from: string;
  readonly to: string;
  /** The name of the transition in src/chart; missing: the actor begins. */
  readonly arrow?: string;
}

/** A charging event: start, end, charge, hold. */
export interface SeenCharge {
  readonly kind: "charge";
  readonly at: number;
  readonly session: string;
  readonly type: string;
  readonly text: string;
}

export interface SeenTimer {
  readonly kind: "timer";
  readonly at: number;
  readonly session: string;
  readonly name: string;
}

/** All of it is over. */
export interface SeenEnd {
  readonly kind: "end";
  readonly at: number;
  readonly record: CallRecord;
}

export type Seen = SeenMessage | SeenState | SeenCharge | SeenTimer | SeenEnd;
