import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ChargingEvent, sessionEnded, sessionStarted } from "../../src/charging/events/events.ts";
import type { Answered, Send } from "../../src/support/http-send.ts";
import { Delivery } from "../../src/usage/delivery.ts";
import { Endpoint } from "../../src/usage/endpoint.ts";
import { facts, JANUARY, silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { deliveredBy, MemoryLetters, sinkOf, turn } from "./lab.ts";

const HOUR_MS = 3_600_000;
const session = (n: number): ChargingEvent[] => {
  const of = facts({ id: `s${n}` });
  return [sessionStarted(of, JANUARY), sessionEnded(of, JANUARY, JANUARY + 1_000, "client")];
};

let clock: TestClock;
let letters: MemoryLetters;
let delivery: Delivery;
/** What was sent, in order: ids of events. */
let sent: string[];
let answer: (id: string) => Partial<Answered> | "nothing" | "hangs";
let atOnce: { now: number; most: number };

const send: Send = async ({ body }, signal) => {
  const { id } = JSON.parse(body) as { id: string };
  sent.push(id);
  atOnce.most = Math.max(atOnce.most, ++atOnce.now);
  await turn();
  atOnce.now--;
  const how = answer(id);
  if (how === "nothing") throw Object.assign(new Error("fetch failed"), { cause: { code: "ECONNREFUSED" } });
  if (how === "hangs")
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
  return { status: 200, text: "", ...(how as Partial<Answered>) };
};

function start(settings: Record<string, unknown> = {}, random = () => 0.5): void {
  const sink = sinkOf({ preset: "cloudevents", url: "https://usage.example", ...settings });
  delivery = new Delivery({ endpoint: new Endpoint(sink, {}, clock), send, letters, clock, log: silent, random });
}

beforeEach(() => {
  clock = new TestClock(JANUARY);
  letters = new MemoryLetters();
  sent = [];
  atOnce = { now: 0, most: 0 };
  answer = () => ({});
  start();
});
afterEach(() => delivery.stop());

/** In order. */
const delivered = async (events: readonly ChargingEvent[], stepMs?: number): Promise<string[]> =>
  (await deliveredBy(delivery, clock, events, stepMs)).flat();

describe("delivering usage", () => {
  it("sends the events of a session in order, and several sessions at once", async () => {
    const events = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].flatMap(session);
    start({ concurrency: 4 });
    const done = await delivered(events);
    expect(new Set(done)).toEqual(new Set(events.map(({ id }) => id)));
    for (let n = 1; n <= 12; n++) expect(sent.indexOf(`s${n}:started`)).toBeLessThan(sent.indexOf(`s${n}:ended`));
    expect(atOnce.most).toBe(4);
    expect(delivery.counters).toEqual({ delivered: 24, failures: 0, deadLetters: 0 });
  });

  it("keeps the order of a session while its first event fails", async () => {
    let failures = 3;
    answer = (id) => (id === "s1:started" && failures-- > 0 ? { status: 503 } : {});
    await delivered(session(1));
    expect(sent).toEqual(["s1:started", "s1:started", "s1:started", "s1:started", "s1:ended"]);
    expect(delivery.counters).toMatchObject({ delivered: 2, failures: 3 });
  });

  it("waits longer with each failure, with jitter, and no longer than it is set to", async () => {
    const times: number[] = [];
    let tries = 0;
    answer = () => {
      times.push(clock.monotonic());
      return ++tries < 9 ? "nothing" : {};
    };
    start({ retryMostS: 60 }, () => 0);
    await delivered(session(1), 250);
    const pauses = times.slice(1).map((at, i) => at - times[i]!);
    // With random() = 0 half of 1, 2, 4, ... 60 s, and what the clock's steps add.
    for (const [i, least] of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].entries()) {
      expect(pauses[i]).toBeGreaterThanOrEqual(least);
      expect(pauses[i]).toBeLessThanOrEqual(least + 500);
    }
  });

  it("waits as long as the endpoint says (Retry-After), within its bound", async () => {
    const times: number[] = [];
    const waits = ["120", new Date(JANUARY + 400_000).toUTCString(), "86400"];
    answer = () => {
      times.push(clock.monotonic());
      const retryAfter = waits.shift();
      return retryAfter === undefined ? {} : { status: 429, retryAfter };
    };
    await delivered(session(1).slice(0, 1));
    const [first, second, third, fourth] = times as [number, number, number, number];
    expect(second - first).toBeGreaterThanOrEqual(120_000);
    expect(second - first).toBeLessThan(121_500);
    expect(third).toBeGreaterThanOrEqual(399_500);
    expect(fourth - third).toBeGreaterThanOrEqual(300_000);
    expect(fourth - third).toBeLessThan(301_500);
  });

  it("delivers everything after an endpoint was away for hours, with few requests meanwhile", async () => {
    const events = Array.from({ length: 50 }, (_, n) => session(n)).flat();
    answer = () => (clock.monotonic() < 9 * HOUR_MS ? "nothing" : {});
    const done = await delivered(events, 5_000);
    expect(done).toHaveLength(100);
    expect(letters.all.size).toBe(0);
    expect(clock.monotonic()).toBeLessThan(9.2 * HOUR_MS);
    expect(delivery.counters.failures).toBeLessThan(8 * 160); // every 225 s on average, as many at once as are allowed
    expect(delivery.failing).toBeUndefined();
  });

  it("puts aside what can never succeed, with the reason, and goes on", async () => {
    answer = (id) => (id === "s1:started" ? { status: 400, text: '{"detail":\n"no such\u0007 meter"}' } : {});
    const done = await delivered([...session(1), ...session(2)]);
    expect(done).toHaveLength(4);
    expect([...letters.all.keys()]).toEqual(["cloudevents:s1:started"]);
    const [letter] = letters.all.values();
    expect(letter!.reason).toBe('status 400: {"detail": "no such meter"}');
    expect(JSON.parse(letter!.event)).toEqual(session(1)[0]);
    expect(sent.filter((id) => id === "s1:started")).toHaveLength(1);
  });

  it("does not lose what cannot be put aside because the store is away", async () => {
    let isMended = false;
    letters.away = true;
    answer = (id) => {
      if (id === "s1:started" && clock.monotonic() > 60_000 && !isMended) {
        isMended = true;
        letters.away = false;
      }
      return id === "s1:started" ? { status: 400 } : {};
    };
    expect(await delivered(session(1))).toHaveLength(2);
    expect([...letters.all.keys()]).toEqual(["cloudevents:s1:started"]);
  });

  it("keeps what fails because of a key that has expired", async () => {
    answer = () => (clock.monotonic() < HOUR_MS ? { status: 401, text: "expired" } : {});
    await delivered(session(1), 5_000);
    expect(letters.all.size).toBe(0);
  });

  it("puts aside an event at which the endpoint alone fails, and holds up no other", async () => {
    answer = (id) => (id === "s5:started" ? { status: 500 } : {});
    start({ concurrency: 2 });
    const events = Array.from({ length: 40 }, (_, n) => session(n)).flat();
    expect(await delivered(events)).toHaveLength(80);
    expect([...letters.all.values()].map(({ id, reason }) => [id, reason])).toEqual([
      ["cloudevents:s5:started", "others are taken, and this one is not: status 500"],
    ]);
  });

  it("does not stop at such an event when there is nothing left that the endpoint could take in between", async () => {
    answer = (id) => (id === "s1:started" ? { status: 500 } : {});
    await delivered([...session(1), ...session(2)], 5_000);
    expect(sent.at(-1)).toBe("s1:ended");
    expect([...letters.all.values()][0]!.reason).toContain("others are taken");
    expect(clock.monotonic()).toBeLessThan(3 * HOUR_MS);
  });

  it("puts nothing aside while the endpoint fails at all that comes, though it has just taken others", async () => {
    let before = 30;
    answer = () => (before-- > 0 || clock.monotonic() > 12 * HOUR_MS ? {} : { status: 500 });
    await delivered(Array.from({ length: 50 }, (_, n) => session(n)).flat(), 5_000);
    expect(letters.all.size).toBe(0);
  });

  it("gives up what is older than it is set to, after one more try", async () => {
    answer = () => "nothing";
    start({ giveUpS: 3_600 });
    await delivered(session(1), 5_000);
    expect(clock.monotonic()).toBeGreaterThan(HOUR_MS);
    expect([...letters.all.values()].map(({ reason }) => reason)).toEqual([
      "given up after 3600 s: ECONNREFUSED",
      "given up after 3600 s: ECONNREFUSED",
    ]);
  });

  it("breaks off a request that gets no answer, and makes it again", async () => {
    let tries = 0;
    answer = () => (++tries === 1 ? "hangs" : {});
    start({ timeoutS: 5 });
    expect(await delivered(session(1).slice(0, 1))).toHaveLength(1);
    expect(tries).toBe(2);
    expect(clock.monotonic()).toBeGreaterThanOrEqual(5_000);
  });

  it("ends while it waits for an endpoint, and says so to who has the events", async () => {
    answer = () => "nothing";
    const delivering = delivery.deliver(session(1), () => expect.fail("it was not delivered"));
    const failed = expect(delivering).rejects.toThrow("stopped");
    for (let i = 0; i < 5; i++) await turn();
    await delivery.stop();
    await failed;
    expect(clock.armed).toBe(0);
  });
});
