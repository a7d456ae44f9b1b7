import { type Random, timeOrderedId } from "../../support/random.ts";

/* What the ids of sessions say: which relay has a session's book, and whether there can be such a session at all. */

const NODE_CHARACTERS = 6;
const ID = /^([0-9a-z]{9})-([0-9a-z]{6})-[0-9a-z]{8,64}$/;

/** Makes a new name for a relay, for the ids of its sessions. The relay keeps the name when it is started again. */
export const newNodeName = (random: Random): string =>
  random.token(96).slice(0, NODE_CHARACTERS).padEnd(NODE_CHARACTERS, "0");

export const isNodeName = (text: string): boolean => /^[0-9a-z]{6}$/.test(text);

/** A new id that sorts by time. `node` is the relay's name; "": there is no other relay to tell apart. */
export const newSessionId = (nowMs: number, random: Random, node: string): string =>
  timeOrderedId(nowMs, random, node === "" ? "" : `-${node}-`);

export interface SessionName {
  /** When the session's id was made, milliseconds since 1970 by that relay's wall clock. */
  readonly at: number;
  readonly node: string;
}

/** Undefined: the text is not a session's id, or the id has no relay's name. */
export function readSessionId(id: string): SessionName | undefined {
  const parts = ID.exec(id);
  return parts ? { at: Number.parseInt(parts[1]!, 36), node: parts[2]! } : undefined;
}
