import { type Random, timeOrderedId } from "../../support/random.ts";

/*
 * What the ids of sessions say. Who asks for a session learns from its id which relay has its book, and whether there
 * can be such a session at all.
 */

const NODE_CHARACTERS = 6;
const ID = /^([0-9a-z]{9})-([0-9a-z]{6})-[0-9a-z]{8,64}$/;

/** A name for a relay in the ids of its sessions: new, and kept by it from start to start. */
export const newNodeName = (random: Random): string =>
  random.token(96).slice(0, NODE_CHARACTERS).padEnd(NODE_CHARACTERS, "0");

export const isNodeName = (text: string): boolean => /^[0-9a-z]{6}$/.test(text);

/** A fresh id that sorts by time. `node`: the relay's name; "": it shares its sessions with nobody. */
export const newSessionId = (nowMs: number, random: Random, node: string): string =>
  timeOrderedId(nowMs, random, node === "" ? "" : `-${node}-`);

export interface SessionName {
  /** When the session's id was made, milliseconds since 1970 by that relay's wall clock. */
  readonly at: number;
  readonly node: string;
}

/** Undefined: it is none, or one of a relay that shares its sessions with nobody. */
export function readSessionId(id: string): SessionName | undefined {
  const parts = ID.exec(id);
  return parts ? { at: Number.parseInt(parts[1]!, 36), node: parts[2]! } : undefined;
}
