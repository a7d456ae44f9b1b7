import { describe, expect, it } from "vitest";
import {
  accountEvents,
  chargeMade,
  sessionChanged,
  sessionEnded,
  sessionMoved,
  sessionStarted,
} from "../../src/charging/events/events.ts";
import { aCharge, facts, JANUARY } from "./samples.ts";

describe("charging events (decisions 8 and 9)", () => {
  it("have the same id when the same thing is reported again", () => {
    expect(sessionStarted(facts(), JANUARY).id).toBe("s1:started");
    expect(sessionEnded(facts(), JANUARY, JANUARY + 5, "client").id).toBe("s1:ended");
    expect(chargeMade(facts(), JANUARY, aCharge(), "info").id).toBe("s1:charge:teacher-1:1");
    expect(chargeMade(facts(), JANUARY + 9, aCharge({ item: "x" }), "bye").id).toBe("s1:charge:teacher-1:1");
  });

  it("have ids of their own for what two app servers call the same", () => {
    const ids = [facts(), facts({ appServer: "teacher-2" }), facts({ id: "s2" })].map(
      (f) => chargeMade(f, 0, aCharge(), "info").id,
    );
    expect(new Set(ids).size).toBe(3);
  });

  it("mean an end and a start at the same instant where the service changed (M20, M21)", () => {
    const beer = facts({ id: "s2", service: "beer", previous: { session: "s1", by: "change" } });
    expect(accountEvents(sessionChanged(beer, facts(), JANUARY, JANUARY + 500))).toEqual([
      sessionEnded(facts(), JANUARY, JANUARY + 500, "change"),
      sessionStarted(beer, JANUARY + 500),
    ]);
  });

  it("mean nothing to an account where they only tell of something (M24)", () => {
    expect(accountEvents(sessionMoved(facts({ id: "s2" }), facts(), JANUARY, true))).toEqual([]);
  });

  it("survive JSON unchanged", () => {
    for (const event of [
      sessionStarted(facts(), 1),
      sessionEnded(facts(), 1, 2, "server"),
      chargeMade(facts(), 1, aCharge(), "info"),
    ]) {
      expect(JSON.parse(JSON.stringify(event))).toEqual(event);
    }
  });

  it("measure no negative time where the clock was set back (M12)", () => {
    expect(sessionEnded(facts(), JANUARY, JANUARY - 60_000, "client").durationMs).toBe(0);
    expect(sessionEnded(facts(), JANUARY, JANUARY + 60_000, "client").durationMs).toBe(60_000);
  });
});
