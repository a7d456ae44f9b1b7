import { afterEach, describe, expect, it } from "vitest";
import { type ChargingEvent, chargeMade, sessionChanged, sessionEnded } from "../../src/charging/events/events.ts";
import { sendByFetch } from "../../src/support/http-send.ts";
import { attempt, type Outcome } from "../../src/usage/attempt.ts";
import { Endpoint } from "../../src/usage/endpoint.ts";
import { partsFor } from "../../src/usage/presets.ts";
import { aCharge, facts, JANUARY, wholeSession } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";
import { apiKey, lago, openMeter, stripe, type TestEndpoint, webhook } from "./endpoints.ts";
import { fileWith, sinkOf } from "./lab.ts";

const clock = new TestClock(JANUARY + 60_000);
const now = () => clock.wall();
const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const FORMER = `whsec_${Buffer.alloc(32, 9).toString("base64")}`;
const whole = wholeSession(facts(), 90_400, [aCharge(), aCharge({ id: "2", quantity: "0.75" })]);

let server: TestEndpoint | undefined;
afterEach(() => server?.stop());

/** Sends all of them in one request. */
async function together(settings: Record<string, unknown>, events: readonly ChargingEvent[]): Promise<Outcome> {
  const sink = sinkOf({ url: server!.url, ...settings });
  const parts = events.flatMap((event) => partsFor(event, sink));
  return attempt({ endpoint: new Endpoint(sink, {}, clock), send: sendByFetch, clock }, parts);
}

/** Sends events as this sink does, one after the other, each part once. */
async function sent(settings: Record<string, unknown>, events: readonly ChargingEvent[]): Promise<Outcome[]> {
  const sink = sinkOf({ url: server!.url, ...settings });
  const endpoint = new Endpoint(sink, {}, clock);
  const outcomes: Outcome[] = [];
  for (const part of events.flatMap((event) => partsFor(event, sink)))
    outcomes.push(await attempt({ endpoint, send: sendByFetch, clock }, [part]));
  return outcomes;
}
const verdicts = (outcomes: readonly Outcome[]) => outcomes.map(({ verdict }) => verdict);

describe("usage to OpenMeter", () => {
  it("goes as CloudEvents of the user, with numbers that its meters can sum", async () => {
    server = await openMeter().start();
    const outcomes = await sent({ preset: "openmeter", keyFile: fileWith(apiKey), batchMost: 1 }, whole);
    expect(server.complaints).toEqual([]);
    expect(verdicts(outcomes)).toEqual(["taken", "taken", "taken"]);
    const bodies = server.given.map(({ body }) => JSON.parse(body));
    expect(bodies.map(({ type, subject }) => [type, subject])).toEqual([
      ["tollgate.charge.made", "alice"],
      ["tollgate.charge.made", "alice"],
      ["tollgate.session.ended", "alice"],
    ]);
    expect(bodies[0].data).toMatchObject({ amount: "25.00", quantity: "2", currency: "EUR", service: "english" });
    expect(bodies[2].data).toMatchObject({ seconds: "90.400", appServer: "teacher-1" });
  });
});

describe("usage to Lago", () => {
  it("has a transaction_id, a subscription and a code; what Lago has had counts as taken", async () => {
    server = await lago().start();
    const settings = { preset: "lago", keyFile: fileWith(apiKey), meters: { time: "{service}_seconds" }, batchMost: 1 };
    expect(verdicts(await sent(settings, whole))).toEqual(["taken", "taken", "taken"]);
    expect(server.complaints).toEqual([]);
    const { event } = JSON.parse(server.given[2]!.body);
    expect(event).toMatchObject({ code: "english_seconds", external_subscription_id: "alice" });
    expect(event.timestamp).toBe(((JANUARY + 90_400) / 1000).toFixed(3));
    expect(verdicts(await sent(settings, whole))).toEqual(["taken", "taken", "taken"]);
    expect(server.again).toHaveLength(3);
  });

  it("is put aside where Lago says that it is not valid, and waits where the key is wrong", async () => {
    server = await lago().start();
    server.first.push({ status: 422, body: { error_details: { code: ["value_is_invalid"] } } });
    const settings = { preset: "lago", keyFile: fileWith(apiKey), events: ["session.ended"] };
    expect(verdicts(await sent(settings, whole))).toEqual(["never"]);
    expect(verdicts(await sent({ ...settings, keyFile: fileWith("another") }, whole))).toEqual(["again"]);
  });
});

describe("usage to Stripe", () => {
  const settings = { preset: "stripe", keyFile: fileWith(apiKey), customersFile: fileWith("alice cus_A1\n# none\n") };

  it("goes form-encoded, in whole numbers, with an identifier that makes a repetition harmless", async () => {
    server = await stripe(now).start();
    const outcomes = await sent({ ...settings, meters: { charges: "{service}_{currency}" } }, whole);
    expect(server.complaints).toEqual([]);
    expect(verdicts(outcomes)).toEqual(["taken", "taken", "taken"]);
    const forms = server.given.map(({ body }) => new URLSearchParams(body));
    expect(forms.map((form) => [form.get("event_name"), form.get("payload[value]")])).toEqual([
      ["english_EUR", "2500"],
      ["english_EUR", "938"], // 0.75 x 12.50, half up
      ["tollgate_seconds", "91"],
    ]);
    expect(forms[0]!.get("payload[stripe_customer_id]")).toBe("cus_A1");
    expect(verdicts(await sent(settings, whole))).toEqual(["taken", "taken", "taken"]);
    expect(server.again).toHaveLength(3);
  });

  it("shortens an id of more than 100 characters, to the same text each time", async () => {
    server = await stripe(now).start();
    const long = chargeMade(facts(), JANUARY, aCharge({ id: "x".repeat(120) }), "info");
    expect(verdicts(await sent(settings, [long, long]))).toEqual(["taken", "taken"]);
    expect(server.taken).toHaveLength(1);
  });

  it("puts aside what it cannot count or whose customer it does not know, without asking", async () => {
    server = await stripe(now).start();
    const outcomes = await sent({ ...settings, chargesBy: "quantity" }, [
      ...whole,
      sessionEnded(facts({ user: "bob" }), JANUARY, JANUARY + 1000, "client"),
    ]);
    expect(verdicts(outcomes)).toEqual(["taken", "never", "taken", "never"]);
    expect(outcomes[1]!.why).toContain("quantity is 0.75");
    expect(outcomes[3]!.why).toContain("no line for the user bob");
    expect(server.given).toHaveLength(2);
  });

  it("is put aside where Stripe says that it is too old", async () => {
    server = await stripe(() => now() + 36 * 86_400_000).start();
    expect(verdicts(await sent({ ...settings, events: ["session.ended"] }, whole))).toEqual(["never"]);
  });
});

describe("usage to any webhook", () => {
  it("goes as CloudEvents, signed as Standard Webhooks are, by the new secret and the former one", async () => {
    const both = { preset: "cloudevents", secretFile: fileWith(SECRET), formerSecretFile: fileWith(FORMER) };
    for (const known of [SECRET, FORMER]) {
      server = await webhook(known, now).start();
      expect(verdicts(await sent(both, whole))).toEqual(["taken", "taken", "taken", "taken"]);
      expect(server.complaints).toEqual([]);
      await server.stop();
    }
    server = await webhook(`whsec_${Buffer.alloc(32, 1).toString("base64")}`, now).start();
    expect(verdicts(await sent(both, whole))[0]).toBe("again");
  });

  it("follows no redirection, which would tell secrets to others", async () => {
    server = await webhook(SECRET, now).start();
    server.first.push({ status: 307, headers: { location: `${server.url}/elsewhere` } });
    const [outcome] = await sent({ preset: "cloudevents", secretFile: fileWith(SECRET) }, whole.slice(0, 1));
    expect(outcome).toMatchObject({ verdict: "again", why: "status 307" });
    expect(server.given).toHaveLength(1);
  });

  it("leaves out other services and other events", async () => {
    server = await webhook(SECRET, now).start();
    const settings = { preset: "cloudevents", secretFile: fileWith(SECRET), events: ["charge.made"] };
    expect(await sent({ ...settings, services: ["wine"] }, whole)).toEqual([]);
    expect(await sent({ ...settings, services: ["english"] }, whole)).toHaveLength(2);
  });
});

describe("usage in batches", () => {
  const many = Array.from({ length: 100 }, (_, n) => wholeSession(facts({ id: `s${n}` }), 60_000)[1]!);
  const bodies = () => server!.given.map(({ body }) => JSON.parse(body));

  it("goes to any webhook as a batch of CloudEvents, signed as one message, if that is set", async () => {
    server = await webhook(SECRET, now).start();
    const settings = { preset: "cloudevents", secretFile: fileWith(SECRET), batchMost: 100 };
    expect(await together(settings, whole)).toMatchObject({ verdict: "taken" });
    expect(server.given[0]!.headers["content-type"]).toBe("application/cloudevents-batch+json");
    expect(server.taken).toEqual(whole.map(({ id }) => id));
    await together(settings, whole); // the same message once more
    expect([server.taken.length, server.complaints]).toEqual([4, []]);
    await together(settings, many.slice(0, 1)); // one event is a batch, too: a receiver needs to know one form only
    expect(bodies()[2]).toHaveLength(1);
  });

  it("goes to OpenMeter as a batch of CloudEvents, with 100 of them", async () => {
    server = await openMeter().start();
    const settings = { preset: "openmeter", keyFile: fileWith(apiKey) };
    expect(await together(settings, many)).toMatchObject({ verdict: "taken" });
    expect([server.complaints, server.taken.length]).toEqual([[], 100]);
  });

  it("goes to Lago's batches, with 100 events; which ones it does not take, it says by their places", async () => {
    server = await lago().start();
    const settings = { preset: "lago", keyFile: fileWith(apiKey) };
    expect(await together(settings, many)).toMatchObject({ verdict: "taken" });
    expect([server.given[0]!.path, server.taken.length]).toEqual(["/api/v1/events/batch", 100]);
    const [known, unknown, fresh] = [many[7]!, facts({ id: "x", user: "no-one" }), facts({ id: "y" })];
    const ended = (of: typeof unknown) => sessionEnded(of, JANUARY, JANUARY + 1_000, "client");
    const outcome = await together(settings, [ended(fresh), known, ended(unknown)]);
    expect(outcome.verdict).toBe("never");
    expect([...outcome.each!].map(([{ id }, { verdict }]) => [id, verdict])).toEqual([
      [known.id, "taken"],
      ["x:ended", "never"],
    ]);
    expect([...outcome.each!.values()][1]!.why).toContain("subscription_not_found");
    // A Lago that takes fewer says so of the whole batch.
    server.first.push({ status: 422, body: { error_details: { events: ["too_many_events"] } } });
    const tooMany = await together(settings, [ended(fresh), known]);
    expect(tooMany).toMatchObject({ verdict: "never" });
    expect(tooMany.each).toBeUndefined();
    // All 100 at once, whose answer is a long one.
    const all = await together(settings, many);
    expect([...all.each!.values()].filter(({ verdict }) => verdict === "taken")).toHaveLength(100);
    expect(await together(settings, [known])).toMatchObject({ verdict: "taken" });
  });

  it("waits where Lago has no batches, or is not there at all; a subscription that is not there is the event's", async () => {
    server = await lago().start();
    const settings = { preset: "lago", keyFile: fileWith(apiKey) };
    const body = { status: 404, error: "Not Found", code: "subscription_not_found" };
    server.first.push({ status: 404 }, { status: 404 }, { status: 404, body: { ...body, code: "resource_not_found" } });
    server.first.push({ status: 404, body });
    const counts = [100, 1, 1, 1];
    const outcomes: Outcome[] = [];
    for (const count of counts) outcomes.push(await together(settings, many.slice(0, count)));
    expect(verdicts(outcomes)).toEqual(["again", "again", "again", "never"]);
  });

  it("has the trace of its session, if it is of one", async () => {
    server = await webhook(SECRET, now).start();
    const sink = sinkOf({ preset: "cloudevents", url: server.url, batchMost: 100 });
    const endpoint = new Endpoint(sink, { TOLLGATE_USAGE_CLOUDEVENTS_SECRET: SECRET }, clock, 1);
    for (const events of [whole, many]) await attempt({ endpoint, send: sendByFetch, clock }, events);
    expect(server.given.map(({ headers }) => headers.traceparent)).toEqual([expect.stringMatching(/^00-/), undefined]);
  });
});

describe("a change of service (M20)", () => {
  const changed = sessionChanged(facts({ id: "s2", service: "french" }), facts(), JANUARY, JANUARY + 30_000);

  it("is the end of a part for those who meter", () => {
    const parts = partsFor(changed, sinkOf({ preset: "openmeter", services: ["english"] }));
    expect(parts).toMatchObject([{ type: "session.ended", durationMs: 30_000, session: { service: "english" } }]);
    expect(partsFor(changed, sinkOf({ preset: "openmeter", services: ["french"] }))).toEqual([]);
  });

  it("is itself for a webhook, if it is about one of its services", () => {
    for (const services of [["english"], ["french"]])
      expect(partsFor(changed, sinkOf({ preset: "cloudevents", url: "https://x.example", services }))).toEqual([
        changed,
      ]);
  });
});
