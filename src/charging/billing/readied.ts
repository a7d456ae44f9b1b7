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

/** An event, and the line that it puts on the bill if its account's chart asks for it. */
export interface Part {
  readonly event: SessionStarted | SessionEnded | ChargeMade;
  readonly entry: Entry | undefined;
}

/**
 * What an event puts on accounts and bills, or why nobody can bill it. All of it or nothing; whatever came, it does
 * not throw.
 */
export function readied(whole: ChargingEvent): Result<Part[], string> {
  try {
    const parts: Part[] = [];
    for (const event of meaning(whole)) {
      const entry = entryFor(event);
      if (!entry.ok) return entry;
      parts.push({ event, entry: entry.value });
    }
    const problem = parts.length > 0 ? contradiction(whole) : undefined; // notices are no matter of bills
    return problem === undefined ? ok(parts) : err(problem);
  } catch (error) {
    return err(`it cannot be read: ${(error as Error).message}`);
  }
}

/**
 * What comes over the bus may be anything at all: what cannot be taken apart is left whole, and `entryFor` says what
 * is wrong with it.
 */
function meaning(event: ChargingEvent): Part["event"][] {
  if (!isObject(event) || !isObject(event.session)) return [event as Part["event"]];
  if (event.type === "session.changed" && !isObject(event.from)) return [event as unknown as Part["event"]];
  return accountEvents(event);
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null;

/**
 * In what an event contradicts itself. Its id follows from what it is about: one with the id of another would take
 * its place on the bill. And the two parts of a session whose service changed are one user's, and one call's.
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

/** Of a dead letter: a document of MongoDB has 16 MB, and a character at most three octets. */
const MAX_TEXT = 2 ** 20;
const MAX_REASON = 500;
const NAME = /^[\x21-\x7e]{1,400}$/;

/** The dead letter for an event, under the event's own id where that is a name. It is the same for the same event. */
export function letterFor(event: ChargingEvent, reason: string, at: number): DeadLetter {
  const text = jsonOf(event);
  const id = typeof event?.id === "string" && NAME.test(event.id) ? event.id : `unnamed:${fingerprint(text)}`;
  return bounded({ id, at, reason, event: text });
}

/** The same as a letter that every store takes. What is cut off is said. */
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

/** Under another id, by its contents. */
export const besides = (letter: DeadLetter): DeadLetter => ({
  ...letter,
  id: `${letter.id}~${fingerprint(letter.event)}`,
});

const fingerprint = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

function jsonOf(event: unknown): string {
  try {
    return JSON.stringify(event) ?? "undefined";
  } catch {
    return inspect(event, { depth: 5, maxStringLength: 1_000 }); // nested too deep, or in a ring
  }
}
