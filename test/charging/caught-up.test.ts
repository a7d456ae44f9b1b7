import { describe, expect, it } from "vitest";
import { CaughtUp } from "../../src/charging/journal/caught-up.ts";
import { TestClock } from "../support/test-clock.ts";
import { deferred } from "./samples.ts";

const turn = () => new Promise(setImmediate);

function asked(withinMs = 2_000) {
  const clock = new TestClock();
  const calls: ReturnType<typeof deferred<void>>[] = [];
  const handled = () => {
    calls.push(deferred<void>());
    return calls.at(-1)!.promise;
  };
  return { clock, calls, caughtUp: new CaughtUp({ handled, clock, withinMs }) };
}

describe("whether billing has seen what was recorded", () => {
  it("is answered as soon as it has", async () => {
    const { clock, calls, caughtUp } = asked();
    const answer = caughtUp.ask();
    await turn();
    calls[0]!.resolve();
    expect(await answer).toBe(true);
    expect(clock.armed).toBe(0);
  });

  it("is no after two seconds, and where it cannot be known", async () => {
    const { clock, calls, caughtUp } = asked();
    const late = caughtUp.ask();
    await turn();
    clock.advance(2_000);
    expect(await late).toBe(false);
    calls[0]!.resolve();
    await turn();
    const refused = caughtUp.ask();
    await turn();
    calls[1]!.reject(new Error("not connected"));
    expect(await refused).toBe(false);
  });

  it("is asked for once by all who come while it is: they get an answer of a moment after they came", async () => {
    const { calls, caughtUp } = asked();
    const first = caughtUp.ask();
    await turn();
    const others = [caughtUp.ask(), caughtUp.ask()];
    calls[0]!.resolve();
    expect(await first).toBe(true);
    await turn();
    expect(calls).toHaveLength(2);
    calls[1]!.resolve();
    expect(await Promise.all(others)).toEqual([true, true]);
    expect(calls).toHaveLength(2);
  });

  it("waits for what is late before it asks again: only one waits, for however long", async () => {
    const { clock, calls, caughtUp } = asked();
    for (let i = 0; i < 5; i++) {
      const answer = caughtUp.ask();
      await turn();
      clock.advance(2_000);
      expect(await answer).toBe(false);
    }
    expect(calls).toHaveLength(1);
    const answer = caughtUp.ask();
    calls[0]!.resolve();
    await turn();
    calls[1]!.resolve();
    expect(await answer).toBe(true);
  });
});
