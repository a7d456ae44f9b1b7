import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ChargingEvent, sessionEnded } from "../../src/charging/events/events.ts";
import type { Answered, Send } from "../../src/support/http-send.ts";
import { batchesOf } from "../../src/usage/batches.ts";
import { Delivery } from "../../src/usage/delivery.ts";
import { Endpoint } from "../../src/usage/endpoint.ts";
import { facts, JANUARY, silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { cloudEventsIn } from "./endpoints.ts";
import { deliveredBy, fileWith, MemoryLetters, sinkOf, turn } from "./lab.ts";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const ended = (name: string, over = {}): ChargingEvent =>
  sessionEnded(facts({ id: name, ...over }), JANUARY, JANUARY + 1_000, "client");
const events = (count: number) => Array.from({ length: count }, (_, n) => ended(`s${n}`));

interface Sent {
  readonly ids: readonly string[];
  readonly message: string;
  readonly at: number;
}

let clock: TestClock;
let letters: MemoryLetters;
let delivery: Delivery;
let sent: Sent[];
let taken: string[];
/** Status 200 to a request is that all is taken. */
let answer: (ids: readonly string[]) => Partial<Answered> | "hangs";

const send: Send = async ({ headers, body }, signal) => {
  const found = cloudEventsIn({ headers, body });
  if (typeof found === "string") throw new Error(found);
  const ids = found.map(({ id }) => id.replace(":ended", ""));
  sent.push({ ids, message: headers["webhook-id"]!, at: clock.monotonic() });
  await turn();
  const how = answer(ids);
  if (how === "hangs")
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
  const answered = { status: 200, text: "", ...(how as Partial<Answered>) };
  if (answered.status === 200) taken.push(...ids);
  return answered;
};

function start(settings: Record<string, unknown> = {}): void {
  const sink = sinkOf({ preset: "cloudevents", url: "https://usage.example", batchMost: 8, ...settings });
  const endpoint = new Endpoint(sink, { TOLLGATE_USAGE_CLOUDEVENTS_SECRET: SECRET }, clock);
  delivery = new Delivery({ endpoint, send, letters, clock, log: silent, random: () => 0.5 });
}

beforeEach(() => {
  clock = new TestClock(JANUARY);
  letters = new MemoryLetters();
  sent = [];
  taken = [];
  answer = () => ({});
  start();
});
afterEach(() => delivery.stop());

const delivered = async (given: readonly ChargingEvent[], stepMs?: number): Promise<string[][]> =>
  (await deliveredBy(delivery, clock, given, stepMs)).map((ids) => ids.map((id) => id.replace(":ended", "")));
const names = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `s${from + n}`);
const reasons = () => [...letters.all.values()].map(({ id, reason }) => [id, reason]);

describe("delivering usage in batches", () => {
  it("sends them one after the other, in order, and each is done as a whole", async () => {
    expect(await delivered(events(20))).toEqual([names(0, 8), names(8, 16), names(16, 20)]);
    expect(sent.map(({ ids }) => ids)).toEqual([names(0, 8), names(8, 16), names(16, 20)]);
    expect(delivery.counters).toEqual({ delivered: 20, failures: 0, deadLetters: 0 });
  });

  it.each([[413], [400], [422]])("halves a batch that gets %i, down to the event at fault", async (status) => {
    answer = (ids) => (ids.includes("s5") ? { status, text: "no" } : {});
    expect(await delivered(events(8))).toEqual([names(0, 8)]);
    expect(sent.map(({ ids }) => ids)).toEqual([
      names(0, 8),
      names(0, 4),
      names(4, 8),
      names(4, 6),
      ["s4"],
      ["s5"],
      names(6, 8),
    ]);
    expect(taken).toEqual(["s0", "s1", "s2", "s3", "s4", "s6", "s7"]);
    expect(reasons()).toEqual([["cloudevents:s5:ended", `status ${status}: no`]]);
    expect(delivery.counters).toEqual({ delivered: 7, failures: 0, deadLetters: 1 });
    expect(clock.monotonic()).toBeLessThan(10_000); // nobody waits for that
  });

  it("brings all of a batch that is only too large, in smaller ones", async () => {
    answer = (ids) => (ids.length > 2 ? { status: 413 } : {});
    await delivered(events(16));
    expect(taken).toEqual(names(0, 16));
    expect(letters.all.size).toBe(0);
  });

  it.each([[429], [503], [500]])("sends the same batch under the same id again after %i", async (status) => {
    const answers = [
      { status, retryAfter: "120" },
      { status, retryAfter: "120" },
    ];
    answer = () => answers.shift() ?? {};
    expect(await delivered(events(8))).toEqual([names(0, 8)]);
    expect(sent.map(({ ids }) => ids)).toEqual([names(0, 8), names(0, 8), names(0, 8)]);
    expect(new Set(sent.map(({ message }) => message)).size).toBe(1);
    expect(sent[1]!.at - sent[0]!.at).toBeGreaterThanOrEqual(120_000);
    expect(sent[2]!.at - sent[1]!.at).toBeGreaterThanOrEqual(120_000);
    expect(delivery.counters).toEqual({ delivered: 8, failures: 2, deadLetters: 0 });
  });

  it("sends the same batch again when it got no answer in time", async () => {
    let tries = 0;
    answer = () => (++tries === 1 ? "hangs" : {});
    start({ timeoutS: 5 });
    await delivered(events(8));
    expect(sent.map(({ ids }) => ids)).toEqual([names(0, 8), names(0, 8)]);
    expect(sent[0]!.message).toBe(sent[1]!.message);
  });

  it("does not take it for the events' fault that the endpoint knows no batches (415), or has other keys", async () => {
    for (const status of [415, 401]) {
      const until = clock.monotonic() + 600_000;
      answer = () => (clock.monotonic() < until ? { status } : {});
      await delivered(events(8));
    }
    expect(letters.all.size).toBe(0);
  });

  it.each([[{ status: 500 }], ["hangs" as const]])(
    "does not stop at an event at which the endpoint fails each time: %j",
    async (fails) => {
      answer = (ids) => (ids.includes("s2") ? fails : {});
      await delivered(events(20), 5_000);
      expect(new Set(taken)).toEqual(new Set(names(0, 20).filter((name) => name !== "s2")));
      expect([...letters.all.keys()]).toEqual(["cloudevents:s2:ended"]);
      expect(clock.monotonic()).toBeLessThan(3 * 3_600_000); // far sooner than it is given up for its age
    },
  );

  it("puts nothing aside while the endpoint fails at all", async () => {
    answer = () => (clock.monotonic() < 12 * 3_600_000 ? { status: 500 } : {});
    await delivered(events(20), 5_000);
    expect([new Set(taken).size, letters.all.size]).toEqual([20, 0]);
  });

  it("gives up those events of a batch that are too old, and them only", async () => {
    answer = () => (clock.monotonic() < 2 * 3_600_000 ? { status: 503 } : {});
    start({ giveUpS: 3_600 });
    const young = sessionEnded(facts({ id: "young" }), JANUARY, JANUARY + 2 * 3_600_000, "client");
    expect(await delivered([...events(2), young], 5_000)).toEqual([["s0", "s1", "young"]]);
    expect([taken, [...letters.all.keys()]]).toEqual([["young"], ["cloudevents:s0:ended", "cloudevents:s1:ended"]]);
  });

  it("has no event twice in a batch: a copy is done with the first", async () => {
    const [one, two] = events(2) as [ChargingEvent, ChargingEvent];
    expect(await delivered([one, two, { ...one }])).toEqual([["s0", "s1", "s0"]]);
    expect(taken).toEqual(["s0", "s1"]);
  });

  it("puts aside what cannot be sent at all, and sends the others", async () => {
    start({ customersFile: fileWith("alice a\n") });
    await delivered([ended("s0"), ended("s1", { user: "bob" }), ended("s2")]);
    expect(sent.map(({ ids }) => ids)).toEqual([["s0", "s2"]]);
    expect([...letters.all.keys()]).toEqual(["cloudevents:s1:ended"]);
  });

  it("does not lose what cannot be put aside because the store is away", async () => {
    letters.away = true;
    answer = (ids) => {
      if (clock.monotonic() > 60_000) letters.away = false;
      return ids.includes("s1") ? { status: 400 } : {};
    };
    await delivered(events(4));
    expect([new Set(taken), [...letters.all.keys()]]).toEqual([new Set(["s0", "s2", "s3"]), ["cloudevents:s1:ended"]]);
  });

  it("says of no event that it is done when it ends before the whole batch is", async () => {
    answer = (ids) => (ids.includes("s5") ? { status: ids.length > 4 ? 400 : 503 } : {});
    const delivering = delivery.deliver(events(8), () => expect.fail("it was not done"));
    const failed = expect(delivering).rejects.toThrow("stopped");
    for (let i = 0; i < 12; i++) await turn();
    expect(taken).toEqual(names(0, 4));
    await delivery.stop();
    await failed;
    expect(clock.armed).toBe(0);
  });
});

describe("what goes together in a batch", () => {
  it("is bounded in events and octets; a larger event goes alone", () => {
    const large = (name: string, octets: number) => ended(name, { caller: "x".repeat(octets) });
    const given = [...events(3), large("a", 400_000), large("b", 400_000), large("c", 400_000), large("d", 2_000_000)];
    const ids = batchesOf(given, 4).map((batch) => batch.events.map((event) => event.session.id));
    expect(ids).toEqual([["s0", "s1", "s2", "a"], ["b", "c"], ["d"]]);
  });

  it("is the same when it is cut again after the first batches are done", () => {
    const given = events(100);
    const whole = batchesOf(given, 30).map((batch) => batch.events);
    expect(batchesOf(given.slice(30), 30).map((batch) => batch.events)).toEqual(whole.slice(1));
  });
});
