import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { type Send, sendByFetch } from "../../src/support/http-send.ts";
import type { Delivery } from "../../src/usage/delivery.ts";
import type { UsageLetter, UsageLetters } from "../../src/usage/letters.ts";
import { type UsageSink, usageSchema } from "../../src/usage/settings.ts";
import { freshFolder } from "../charging/folders.ts";
import type { TestClock } from "../support/test-clock.ts";

export class MemoryLetters implements UsageLetters {
  readonly all = new Map<string, UsageLetter>();
  /** Rejects as a store that is away. */
  away = false;

  async put(letter: UsageLetter): Promise<void> {
    if (this.away) throw new Error("the store is away");
    this.all.set(letter.id, letter);
  }
  async get(id: string): Promise<UsageLetter | undefined> {
    return this.all.get(id);
  }
  async list(limit: number, after = ""): Promise<UsageLetter[]> {
    return [...this.all.values()].filter(({ id }) => id > after).slice(0, limit);
  }
  async remove(id: string): Promise<boolean> {
    return this.all.delete(id);
  }
}

export const sinkOf = (settings: Record<string, unknown>): UsageSink => usageSchema.parse([settings])[0]!;

/** A file with this text. */
export function fileWith(text: string): string {
  const path = join(freshFolder(), "file");
  writeFileSync(path, text);
  return path;
}

/** Turns the clock whenever nothing is under way, until `isDone`. */
export async function turnUntil(clock: TestClock, isDone: () => boolean, stepMs = 500): Promise<void> {
  for (let quiet = 0; !isDone(); quiet++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (quiet % 3 === 2) clock.advance(stepMs);
  }
}

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Delivers, while the clock is turned whenever nothing happens; resolves to the ids of what was done, together. */
export async function deliveredBy(
  delivery: Delivery,
  clock: TestClock,
  given: readonly ChargingEvent[],
  stepMs = 500,
): Promise<string[][]> {
  const done: string[][] = [];
  let isOver = false;
  const delivering = delivery
    .deliver(given, (ones) => void done.push(ones.map(({ id }) => id)))
    .finally(() => {
      isOver = true;
    });
  for (let turns = 0; !isOver; turns++) {
    await turn();
    if (turns % 4 === 3) clock.advance(stepMs);
  }
  await delivering;
  return done;
}

/** Sends for real; while a request is under way, `busy` is above 0. */
export function countingSend(): { readonly send: Send; readonly state: { busy: number; most: number } } {
  const state = { busy: 0, most: 0 };
  const send: Send = async (request, signal) => {
    state.most = Math.max(state.most, ++state.busy);
    try {
      return await sendByFetch(request, signal);
    } finally {
      state.busy--;
    }
  };
  return { send, state };
}
