import { describe, expect, it } from "vitest";
import { billEvent } from "../../src/charging/billing/billing.ts";
import type { SipRequest } from "../../src/sip/message.ts";
import { establish, type Lab, type LabOptions, lab, type Peer } from "./harness.ts";

/*
 * Whoever hangs up hears 200 soon, whatever the other end does; what the app server charges in its answer counts as
 * long as one may come.
 */

const CHARGE = "application/vnd.tollgate.charge+json";
const charge = (id: string, unitPrice = "7.00") => ({
  type: CHARGE,
  body: JSON.stringify({ charges: [{ id, item: "Corkage", unitPrice, currency: "EUR" }] }),
});
type Call = Awaited<ReturnType<typeof establish>>;

const nothing = { sessions: 0, requests: 0, legs: 0, legsByFlow: 0, transactions: 0, timers: 0 };
const made = (l: Lab) => l.events.flatMap((event) => (event.type === "charge.made" ? [event.charge.id] : []));
const end = (l: Lab) => l.events.find((event) => event.type === "session.ended");

/** Lets time pass, in steps so small that promises have their turn. */
async function pass(l: Lab, ms: number, step = 250): Promise<void> {
  for (let left = ms; left > 0; left -= step) {
    l.clock.advance(Math.min(step, left));
    await l.settle();
  }
}

/** The first of the requests in the inbox; copies and provisional answers are left out. */
function only(peer: Peer, method: string): SipRequest {
  const found = peer.inbox.find((message) => message.isRequest && message.method === method) as SipRequest;
  expect(found?.method).toBe(method);
  peer.inbox.length = 0;
  return found;
}
const statuses = (peer: Peer) =>
  peer.inbox.splice(0).flatMap((message) => (message.isRequest || message.status === 100 ? [] : [message.status]));

async function hungUp(l: Lab, afterMs = 5_000) {
  const call = await establish(l);
  l.clock.advance(afterMs);
  l.client.inDialog("BYE", call.invite, call.answer, 2);
  return call;
}

async function allOver(l: Lab) {
  l.client.inbox.length = 0;
  await pass(l, 130_000, 5_000);
  expect(l.leftovers()).toEqual(nothing);
  expect(l.core.byesUnanswered.size).toBe(0);
}

describe("a client that hangs up", () => {
  it.each<[string, LabOptions, number]>([
    ["after 4 s at the latest", {}, 4_000],
    ["after byeAnswerS", { session: { byeAnswerS: 1.5 } }, 1_500],
  ])("hears 200 %s from an app server that is late, and the clock stops there (M12)", async (_, options, ms) => {
    const l = await lab(options);
    const call = await hungUp(l);
    await pass(l, ms - 1);
    expect(statuses(l.client)).toEqual([]);
    expect(end(l)).toBeUndefined();
    await pass(l, 1);
    expect(statuses(l.client)).toEqual([200]);
    expect(end(l)).toMatchObject({ durationMs: 5_000 + ms, endedBy: "client" });
    expect(l.core.sessions.size).toBe(0);
    expect(l.core.counters.byesUnanswered).toBe(1);

    await pass(l, 10_000);
    call.server.answer(only(call.server, "BYE"), 200, { body: "bye", type: "text/plain" });
    await l.settle();
    expect(statuses(l.client)).toEqual([]);
    expect(l.events.filter(({ type }) => type === "session.ended")).toHaveLength(1);
    await allOver(l);
  });

  it("hears it from the relay where nothing ever comes from the app server, long before its own timer F (RFC 4320 §4.2)", async () => {
    const l = await lab();
    const call = await establish(l);
    call.server.deaf = true;
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    await pass(l, 4_000);
    expect(statuses(l.client)).toEqual([200]);
    await allOver(l);
  });

  it("hears it when the end is on disk, and 500 where it cannot be put there (decision 8)", async () => {
    const l = await lab();
    await hungUp(l);
    l.breakRecorder(true);
    await pass(l, 4_000);
    expect(statuses(l.client)).toEqual([500]);
    l.breakRecorder(false);
    await pass(l, 5_000);
    expect(end(l)).toMatchObject({ durationMs: 9_000 });
    await allOver(l);
  });

  it("is charged until the 200 of the app server that comes in time", async () => {
    const l = await lab();
    const call = await hungUp(l);
    await pass(l, 3_900);
    call.server.answer(only(call.server, "BYE"), 200);
    await l.settle();
    expect(statuses(l.client)).toEqual([200]);
    expect(end(l)).toMatchObject({ durationMs: 8_900 });
    expect(l.core.counters.byesUnanswered).toBe(0);
    await allOver(l);
  });

  it("and crosses the app server's BYE is charged until its own 200, however late its other answer is (M12)", async () => {
    const l = await lab();
    const call = await establish(l);
    l.clock.advance(5_000);
    call.server.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 1);
    l.clock.advance(100);
    l.client.inDialog("BYE", call.invite, call.answer, 2);
    expect(l.client.inbox.flatMap((message) => (message.isRequest ? [] : [message.status]))).toEqual([200]);
    await pass(l, 2_000);
    l.client.answer(only(l.client, "BYE"), 200);
    await l.settle();
    expect(statuses(call.server)).toEqual([200]);
    expect(end(l)).toMatchObject({ durationMs: 5_100, endedBy: "server" });
    await allOver(l);
  });
});

describe("any other request within a session", () => {
  it.each(["MESSAGE", "INFO", "OPTIONS", "NOTIFY"])(
    "is answered before its sender gives up: %s to an app server that is late (RFC 3261 §17.1.2.2, RFC 4320 §4)",
    async (method) => {
      const l = await lab();
      const call = await establish(l);
      l.client.inDialog(method, call.invite, call.answer, 2);
      await pass(l, 29_750);
      expect(statuses(l.client)).toEqual([]);
      await pass(l, 250);
      expect(statuses(l.client)).toEqual([504]);
      call.server.answer(only(call.server, method), 200);
      await pass(l, 3_000);
      expect(statuses(l.client)).toEqual([]);
      expect(l.core.sessions.size).toBe(1);
    },
  );
});

describe("an app server that hangs up", () => {
  it("hears 200 after 4 s although the client is dead; the clock stopped when BYE was sent (M12)", async () => {
    const l = await lab();
    const call = await establish(l);
    l.clock.advance(5_000);
    l.client.deaf = true;
    call.server.backInDialog("BYE", call.inviteAtServer, call.answerOfServer, 1, charge("own"));
    await pass(l, 4_000);
    expect(statuses(call.server)).toEqual([200]);
    expect(made(l)).toEqual(["own"]);
    expect(end(l)).toMatchObject({ durationMs: 5_000, endedBy: "server" });
    await allOver(l);
  });
});

describe("a session that the relay ends", () => {
  it("is on record after 4 s, whoever does not answer; its time ended when BYE was sent", async () => {
    const l = await lab({ session: { maxDurationS: 600 } });
    const call = await establish(l);
    [l.client.deaf, call.server.deaf] = [true, true];
    await pass(l, 600_000, 60_000);
    await pass(l, 4_000);
    expect(end(l)).toMatchObject({ durationMs: 600_000 });
    expect(l.core.sessions.size).toBe(0);
    await allOver(l);
  });

  it("still gets what the app server charges in its late answer (M16)", async () => {
    const l = await lab({ session: { maxDurationS: 600 } });
    const call = await establish(l);
    await pass(l, 600_000, 60_000);
    await pass(l, 20_000);
    call.server.answer(only(call.server, "BYE"), 200, charge("late"));
    await l.settle();
    expect(made(l)).toEqual(["late"]);
    await allOver(l);
  });
});

describe("charges in a late answer to BYE (M16)", () => {
  it.each<[string, LabOptions]>([
    ["with time for late charges", {}],
    ["without", { charging: { lateChargesS: 0 } }],
  ])("count until the transaction is over: %s", async (_, options) => {
    const l = await lab(options);
    const call = await hungUp(l);
    await pass(l, 31_000);
    call.server.answer(only(call.server, "BYE"), 200, charge("late"));
    await l.settle();
    expect(made(l)).toEqual(["late"]);
    expect(l.events.at(-1)).toMatchObject({ channel: "bye", session: { id: end(l)!.session.id } });
    await allOver(l);
  });

  it.each([481, 500])("count in a %i too", async (status) => {
    const l = await lab();
    const call = await hungUp(l);
    await pass(l, 10_000);
    call.server.answer(only(call.server, "BYE"), status, charge("late"));
    await l.settle();
    expect(made(l)).toEqual(["late"]);
  });

  it("count no more when the transaction is over (RFC 3261 §17.1.2, timer F)", async () => {
    const l = await lab();
    const call = await hungUp(l);
    await pass(l, 32_250);
    call.server.answer(only(call.server, "BYE"), 200, charge("late"));
    await l.settle();
    expect(made(l)).toEqual([]);
    await allOver(l);
  });

  it("are in one book with those that came by other ways: the same once, and within the session's limits", async () => {
    const l = await lab({ service: { limits: { session: "10", currency: "EUR" } } });
    const call = await hungUp(l);
    await pass(l, 5_000);
    call.server.inbox.splice(0, call.server.inbox.length - 1);
    call.server.backInDialog("INFO", call.inviteAtServer, call.answerOfServer, 1, charge("x"));
    await l.settle();
    const bye = call.server.request("BYE");
    call.server.response(200);
    const both = { charges: ["x", "y"].map((id) => ({ id, item: "Corkage", unitPrice: "7.00", currency: "EUR" })) };
    call.server.answer(bye, 200, { type: CHARGE, body: JSON.stringify(both) });
    await l.settle();
    expect(made(l)).toEqual(["x"]);
    expect(l.core.counters.chargesRefused).toBe(1);
    expect(l.events.at(-1)).toMatchObject({ type: "charge.refused", charge: "y" });
  });

  it("are put on record when the disk takes them again", async () => {
    const l = await lab();
    const call = await hungUp(l);
    await pass(l, 10_000);
    l.breakRecorder(true);
    call.server.answer(only(call.server, "BYE"), 200, charge("late"));
    await l.settle();
    l.breakRecorder(false);
    await pass(l, 5_000);
    expect(made(l)).toEqual(["late"]);
    await allOver(l);
  });
});

describe("a prepaid user's late answer to BYE", () => {
  const SECONDS = { price: "0.10", incrementS: 10 };
  async function call(l: Lab): Promise<Call> {
    const c = await establish(l);
    l.clock.advance(5_000);
    l.client.inDialog("BYE", c.invite, c.answer, 2);
    await pass(l, 10_000);
    return c;
  }

  /** Bills what is on record and is not billed yet. */
  async function bill(l: Lab, from = 0) {
    for (const event of l.events.slice(from))
      await billEvent({ store: { billing: l.billing, credit: l.credit }, clock: l.clock, log: l.core.log }, event);
    return l.events.length;
  }

  it.each([
    ["before the end is billed", false],
    ["when its hold is settled", true],
  ])("has its charges taken out of the balance: %s", async (_, billed) => {
    const l = await lab({ balance: "10", tariff: SECONDS, charging: { lateChargesS: 0 } });
    const c = await call(l);
    const from = billed ? await bill(l) : 0;
    const bye = only(c.server, "BYE");
    c.server.answer(bye, 200, charge("late"));
    await l.settle();
    await l.settle();
    expect(made(l)).toEqual(["late"]);
    expect(l.credit.available()).toBeGreaterThanOrEqual(0);
    await bill(l, from);
    expect(l.credit.held()).toEqual([]);
    expect(l.credit.available()).toBe(2.9); // 9 s of 0.10 for each begun 10 s, and 7.00
    expect(l.credit.lowest).toBeGreaterThanOrEqual(0);
  });

  it.each([
    ["before the end is billed", false],
    ["when its hold is settled", true],
  ])("is refused what the balance does not cover, and that is on record: %s", async (_, billed) => {
    const l = await lab({ balance: "5", tariff: SECONDS });
    const c = await call(l);
    if (billed) await bill(l);
    c.server.answer(only(c.server, "BYE"), 200, charge("late"));
    await l.settle();
    await l.settle();
    expect(made(l)).toEqual([]);
    expect(l.events.at(-1)).toMatchObject({ type: "charge.refused", reason: expect.stringContaining("balance") });
  });
});
