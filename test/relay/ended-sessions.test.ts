import { describe, expect, it } from "vitest";
import type { BookKeeping, ChargeBook } from "../../src/charging/charges/book.ts";
import { EndedSessions } from "../../src/relay/charges/ended-sessions.ts";
import type { Core } from "../../src/relay/model/core.ts";
import type { Session } from "../../src/relay/session/session.ts";
import { Timelines } from "../../src/support/timeline.ts";
import { facts, JANUARY } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";

const clock = new TestClock(JANUARY);
const timeline = new Timelines(clock).first;
const sessionOf = (id: string, lateChargesMs?: number, book?: Partial<ChargeBook>) =>
  ({
    facts: facts({ id, ...(lateChargesMs !== undefined && { lateChargesMs }) }),
    service: { id: "english" },
    charges: { bookIfAny: book },
    timeline,
  }) as unknown as Session;
const memory = () => new EndedSessions({ keeping: {} as BookKeeping } as Core);

describe("sessions that have ended and are remembered", () => {
  it("are known for half a minute though they take no late charges: what comes right after BYE is told so", () => {
    const ended = memory();
    const book = { isBusy: false };
    ended.add(sessionOf("s1", undefined, book), JANUARY);
    expect(ended.find("s1")).toEqual({ book, dueAt: JANUARY });
    clock.advance(30_000);
    ended.add(sessionOf("s2"), JANUARY + 30_000);
    expect(ended.find("s1")).toBeUndefined();
  });

  it("are not forgotten while a body is under way, however many there are: nobody may make another book", () => {
    const ended = memory();
    const busy = { isBusy: true };
    ended.add(sessionOf("busy", 3_600_000, busy), JANUARY);
    ended.add(sessionOf("idle", 3_600_000, { isBusy: false }), JANUARY);
    for (let i = 0; i < 20_000; i++) ended.add(sessionOf(`s${i}`, 3_600_000, { isBusy: false }), JANUARY);
    expect(ended.find("idle")).toBeUndefined();
    expect(ended.find("busy")?.book).toBe(busy);
    busy.isBusy = false;
    for (let i = 20_000; i < 40_001; i++) ended.add(sessionOf(`s${i}`, 3_600_000, { isBusy: false }), JANUARY);
    expect(ended.find("busy")).toBeUndefined();
    expect(ended.size).toBeLessThanOrEqual(20_001);
  });
});
