import { createHash } from "node:crypto";
import { inspect } from "node:util";
import { err, ok, type Result } from "../../support/result.ts";
import type { DeadLetter } from "../events/dead-letter.ts";
import {
  accountEvents,
  type ChargeMade,
  type ChargingEvent,
  idOf,
  type SessionEnded,
  type SessionStarted,
} from "../events/events.ts";
import { quote } from "../events/field-checks.ts";
import { entryFor } from "./entries.ts";
import type { Entry } from "./store.ts";

/** An event, and the line that it puts on the bill if the account's chart asks for that line. */
export interface Part {
  readonly event: SessionStarted | SessionEnded | ChargeMade;
  readonly entry: Entry | undefined;
}

/**
 * What an event puts on accounts and bills, or why it cannot be billed. Either all of the event counts, or nothing.
 * Never throws, whatever the event holds.
 */
export function readied(whole: ChargingEvent): Result<Part[], string> {
  try {
    const parts: Part[] = [];
    for (const event of meaning(whole)) {
      const entry = entryFor(event);
      if (!entry.ok) return entry;
      parts.push({ event, entry: entry.value });
    }
    const problem = parts.length > 0 ? contradiction(whole) : undefined; // notices do not concern bills
    return problem === undefined ? ok(parts) : err(problem);
  } catch (error) {
    return err(`it cannot be read: ${(error as Error).message}`);
  }
}

/**
 * Takes an event apart. It came over the bus and may hold anything: an event that cannot be taken apart is left whole,
 * and `entryFor` says what is wrong with it.
 */
function meaning(event: ChargingEvent): Part["event"][] {
  if (!isObject(event) || !isObject(event.session)) return [event as Part["event"]];
  if (event.type === "session.changed" && !isObject(event.from)) return [event as unknown as Part["event"]];
  return accountEvents(event);
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null;

/**
 * How an event contradicts itself. Its id must follow from its contents, or it could take another event's place on the
 * bill. And the two parts of a session whose service changed must have the same user and call.
 */
function contradiction(event: ChargingEvent): string | undefined {
  const { id, session } = event;
  const expected = idOf(event);
  if (expected !== undefined && id !== expected) return `id must be ${quote(expected)}, is ${quote(id)}`;
  if (event.type !== "session.changed") return undefined;
  const { from } = event;
  for (const name of ["user", "call"] as const)
    if (session[name] !== from[name]) return `session.${name} and from.${name} differ`;
  if (session.id === from.id || session.previous?.session !== from.id) return "session.previous must be from";
  return undefined;
}

/** Characters of a dead letter's text: a document of MongoDB holds 16 MB, and a character takes at most three bytes. */
const MAX_TEXT = 2 ** 20;
const MAX_REASON = 500;
const NAME = /^[\x21-\x7e]{1,400}$/;

/**
 * The dead letter for an event, under the event's own id where that is usable. The same event always gets the same id.
 */
export function letterFor(event: ChargingEvent, reason: string, at: number): DeadLetter {
  const text = jsonOf(event);
  const id = typeof event?.id === "string" && NAME.test(event.id) ? event.id : `unnamed:${fingerprint(text)}`;
  return bounded({ id, at, reason, event: text });
}

/** Cuts a letter so that every store takes it. The reason says if text was cut off. */
export function bounded(letter: DeadLetter): DeadLetter {
  const { reason, event } = letter;
  if (event.length <= MAX_TEXT && reason.length <= MAX_REASON) return letter;
  const why = reason.length > MAX_REASON ? `${reason.slice(0, MAX_REASON)}...` : reason;
  if (event.length <= MAX_TEXT) return { ...letter, reason: why };
  return {
    ...letter,
    reason: `${why} (cut off: it had ${event.length} characters)`,
    event: event.slice(0, MAX_TEXT),
  };
}

/** The letter under another id, made from its contents. */
export const besides = (letter: DeadLetter): DeadLetter => ({
  ...letter,
  id: `${letter.id}~${fingerprint(letter.event)}`,
});

const fingerprint = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

function jsonOf(event: unknown): string {
  try {
    return JSON.stringify(event) ?? "undefined";
  } catch {
    return inspect(event, { depth: 5, maxStringLength: 1_000 }); // nested too deeply, or in a circle
  }
}
