import { isDeepStrictEqual } from "node:util";
import type { RequestPort, SessionPort as Session } from "../../src/relay/model/core.ts";
import { readSessionState, type SessionState } from "../../src/relay/model/session-state.ts";
import { goOn, restore, snapshot } from "../../src/relay/session/snapshot.ts";
import type { Lab } from "../relay/harness.ts";
import type { TestClock } from "../support/test-clock.ts";
import type { Chance } from "./chance.ts";
import type { KeptDisk } from "./kept-disk.ts";

/** Whether nothing is under way in a session that would end with the process, and is not in its state. */
function isStable({ core }: Lab, session: Session): boolean {
  if (session.change || session.transfer || session.charges.bookIfAny?.isBusy) return false;
  // Somebody moves on from it, or from another of its call, and has not arrived, or may arrive in others too.
  const { id, facts } = session;
  const touches = (request: RequestPort | undefined) => {
    const first = request?.move?.first;
    return first && (first === session || request.call === facts.call || first.partsState?.beside.includes(id));
  };
  return !core.requests.values().some(touches) && !core.sessions.values().some(({ request }) => touches(request));
}

/** What a session is that was handed over; it may be several of them. */
export const KINDS = ["plain", "prepaid", "forked", "changed", "moved", "kept", "unacknowledged", "charged"] as const;
export type HandedOver = Record<(typeof KINDS)[number], number>;

function kindsOf({ core }: Lab, { id, facts }: Session, state: SessionState): (keyof HandedOver)[] {
  const others = core.sessions.values().filter((other) => other.id !== id);
  const kinds: (keyof HandedOver)[] = [
    ...(state.credit ? (["prepaid"] as const) : []),
    ...(others.some((other) => other.facts.call === facts.call) ? (["forked"] as const) : []),
    ...(facts.previous?.by === "change" ? (["changed"] as const) : []),
    ...(facts.previous?.by === "move" ? (["moved"] as const) : []),
    ...(others.some((other) => other.facts.previous?.session === id) ? (["kept"] as const) : []),
    ...(state.answer ? (["unacknowledged"] as const) : []),
  ];
  return [
    ...(kinds.length > 0 ? kinds : (["plain"] as const)),
    ...(state.book?.made.length ? (["charged"] as const) : []),
  ];
}

/** What was written of it this very moment, and read again. */
function written(session: Session): SessionState {
  const text = JSON.stringify(snapshot(session));
  const read = readSessionState(text);
  if (!read.ok) throw new Error(`what was written cannot be read: ${read.error}\n${text}`);
  return read.value;
}

/**
 * Reads what was written of a session, throws the session away, and goes on with what was read. Says what it was;
 * nothing: it was not stable. `disk`: by what stands there, which may be some requests behind.
 */
function handOver(lab: Lab, session: Session, disk: KeptDisk | undefined): (keyof HandedOver)[] {
  if (!isStable(lab, session) || !snapshot(session)) return [];
  const fresh = written(session);
  const state = disk?.sessions.has(session) ? disk.read(session.id) : fresh;
  if (!state) throw new Error(`${session.id} is not on disk, and should be`);
  const kinds = kindsOf(lab, session, state);
  session.release();
  const restored = restore(lab.core, state);
  const again = JSON.parse(JSON.stringify(snapshot(restored) ?? null)) as SessionState | null;
  // One whose 2xx is not acknowledged is whole again when that has gone out.
  if (!state.answer && !isDeepStrictEqual(skipping(fresh, again), again))
    throw new Error(`what was restored is not what was written: ${differences(skipping(fresh, again), again)}`);
  goOn(restored, state);
  return kinds;
}

/** Fields in which two states differ, for people. */
function differences(wanted: unknown, found: unknown, at = ""): string {
  if (isDeepStrictEqual(wanted, found)) return "";
  const both = [wanted, found];
  if (both.some((one) => typeof one !== "object" || one === null))
    return `\n${at}: ${JSON.stringify(wanted)}, and found ${JSON.stringify(found)}`;
  const names = new Set(both.flatMap((one) => Object.keys(one as object)));
  const of = (one: unknown, name: string) => (one as Record<string, unknown>)[name];
  return [...names].map((name) => differences(of(wanted, name), of(found, name), `${at}.${name}`)).join("");
}

/**
 * The state as it should be after `again` was made of it: its CSeqs skip what may have been sent, and no number is
 * taken twice. Where requests go is found out anew, a hold is renewed at once, refusals are counted for the log, and
 * what came since it was written is taken once more if it comes again.
 */
function skipping(state: SessionState, again: SessionState | null): SessionState {
  if (!again) return state;
  const half = (side: "client" | "server") => {
    const { destination: _, ...before } = state[side];
    const { localSeq, destination, remoteSeq } = again[side];
    const skips = localSeq > before.localSeq && localSeq <= before.localSeq + 1_000;
    const seqs = { localSeq: skips ? localSeq : Number.NaN, remoteSeq: Math.min(before.remoteSeq, remoteSeq) };
    return { ...before, ...seqs, ...(destination && { destination }) };
  };
  const { book, credit, ...rest } = state;
  const isEmpty = book?.made.length === 0 && !book.before && !again.book;
  return {
    ...rest,
    client: half("client"),
    server: half("server"),
    ...(book && !isEmpty && { book: { ...book, refusals: again.book?.refusals ?? 0 } }),
    ...(credit && { credit: { ...credit, heldUntil: again.credit?.heldUntil ?? 0 } }),
  };
}

/** Hands sessions over at random moments of the story, each to what was written of it. Counts those that were. */
export function plotHandOvers(lab: Lab, disk: KeptDisk, clock: TestClock, chance: Chance, untilMs: number): HandedOver {
  const done = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as HandedOver;
  const handOverSome = () => {
    for (const session of lab.core.sessions.values())
      if (chance.percent(60))
        for (const kind of handOver(lab, session, chance.percent(70) ? disk : undefined)) done[kind]++;
  };
  for (let i = chance.between(10, 40); i > 0; i--) clock.setTimeout(handOverSome, chance.between(0, untilMs));
  return done;
}
