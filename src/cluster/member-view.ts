import type { Beat } from "./beat.ts";
import { type Member, patienceOf } from "./member.ts";

/* A node of the cluster, as it is shown to people. */

/** Dead nodes, and those that left, are shown for so long. */
const SHOWN_MS = 3_600_000;
/** It is looked at so often whether a node is missed. */
const HALF_BEAT_MS = 50;

/** `unheard`: nobody can know: the node that was asked is cut off, or JetStream does not answer. */
export type MemberState = "up" | "draining" | "left" | "dead" | "unheard";

/** One node, as it is seen from here. */
export interface MemberView extends Omit<Beat, "version" | "number" | "state" | "direct" | "witness" | "heard"> {
  readonly state: MemberState;
  /** True for the node that was asked. */
  readonly self: boolean;
  /** Milliseconds since its last beat came. */
  readonly heardMsAgo: number;
}

/** Whether the node has been gone for so long that it is not shown any more. */
export const isOver = ({ state, heardAt }: Member, now: number): boolean => state !== "up" && now - heardAt > SHOWN_MS;

/** `hearsItself`: the node that was asked does. `witnessed`: nobody calls a node dead without the witness. */
export function viewOf(
  { beat, heardAt, state }: Member,
  from: { readonly self: boolean; readonly now: number; readonly hearsItself: boolean; readonly witnessed: boolean },
): MemberView {
  const { self, now, hearsItself, witnessed } = from;
  const heardMsAgo = now - heardAt;
  const { version: _version, number: _number, direct: _direct, state: said, ...rest } = beat;
  const { witness: _witness, heard: _heard, ...shown } = rest;
  const alive = said === "draining" ? "draining" : "up";
  const isMissed = witnessed && heardMsAgo > patienceOf({ beat }) + HALF_BEAT_MS;
  const seen = state !== "up" ? state : self || (hearsItself && !isMissed) ? alive : "unheard";
  return { ...shown, state: seen, self, heardMsAgo };
}
