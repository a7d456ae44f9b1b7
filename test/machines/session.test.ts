import { describe, expect, it } from "vitest";
import type { SessionEvent, Side } from "../../machines/events.ts";
import { sessionMachine } from "../../machines/session.ts";
import { UNREAD } from "./chart-events.ts";
import { run } from "./harness.ts";
import { itTakesEveryTransition } from "./pairs.ts";

const answer: SessionEvent = { type: "server.answer", at: 1000, payload: UNREAD };
const ack: SessionEvent = { type: "client.ack", at: 2000, payload: UNREAD };
const bye = (from: Side, at = 9000): SessionEvent => ({ type: "bye", from, at, payload: UNREAD });
const gone = (by: Side, at = 9500): SessionEvent => ({ type: "bye.answered", by, at, payload: UNREAD });
const notGone = (by: Side, at = 41000): SessionEvent => ({ type: "bye.failed", by, at });
const failure: SessionEvent = { type: "server.failure", failure: { status: 486 } };
const change: SessionEvent = { type: "change", from: "client", payload: UNREAD };
const another: SessionEvent = { type: "service.change", from: "client", payload: UNREAD, wanted: UNREAD };
const end: SessionEvent = { type: "end", at: 8000, ending: { code: "stops" } };
const update: SessionEvent = { type: "update", from: "client", payload: UNREAD };
const refreshDue: SessionEvent = { type: "refresh.due", side: "client" };
const refresh: SessionEvent = { type: "refresh", from: "client", payload: UNREAD };
const prack: SessionEvent = { type: "prack", payload: UNREAD };
const silence: SessionEvent = { type: "client.silent", at: 33000 };
const message: SessionEvent = { type: "message", from: "client", payload: UNREAD };
const charge: SessionEvent = { type: "charge", payload: UNREAD };
const refer: SessionEvent = { type: "refer", from: "client", payload: UNREAD };

const start = (clock: "ack" | "answer" = "ack") => run(sessionMachine, { id: "s1", clock });
function having(...events: SessionEvent[]) {
  const session = start();
  session.send(...events);
  return session;
}
/** The state, the one inside it included, but not whether a change is under way. */
const stateOf = (session: ReturnType<typeof start>): string =>
  nameOf(session.state).replace(/\.(steady|changing)$/, "");
const nameOf = (state: unknown): string =>
  typeof state === "string"
    ? state
    : Object.entries(state as object)
        .map(([outer, inner]) => `${outer}.${nameOf(inner)}`)
        .join();
const END = ["recordEnd", "relayByeAnswer", "close"];

describe("the chart session", () => {
  it("asks the app server, relays progress, answer and ACK, and starts the clock with the ACK (M5-M7, M12)", () => {
    const session = start();
    expect(session.done()).toEqual(["sendInvite"]);
    expect(session.send({ type: "server.progress", payload: UNREAD })).toEqual(["relayProgress"]);
    expect(session.send(answer)).toEqual(["relayAnswer"]);
    expect(session.state).toBe("answered");
    expect(session.send(ack)).toEqual(["begin"]);
    expect(session.state).toEqual({ established: "steady" });
    expect(session.context.startedAt).toBe(2000);
  });

  it("starts the clock with the answer where the service says so, and puts that on record then (M12)", () => {
    const session = start("answer");
    session.done();
    expect(session.send(answer)).toEqual(["recordStart", "relayAnswer"]);
    expect(session.send(ack)).toEqual(["relayAck"]);
    expect(session.context.startedAt).toBe(1000);
  });

  it("takes charges, and looks at a balance, from the answer on where the clock runs from it (M14)", () => {
    const session = start("answer");
    session.send(answer);
    expect(session.send(charge)).toEqual(["recordCharge"]);
    expect(session.send({ type: "credit.held", until: 62_000 })).toEqual([]);
    expect(session.context.creditUntil).toBe(62_000);
    const exhausted: SessionEvent = { type: "credit.exhausted", at: 30_000, code: "credit-exhausted" };
    expect(session.send(exhausted)).toEqual(["sendAck", "sendByes"]);
    expect(session.context).toMatchObject({ startedAt: 1_000, byeAt: 30_000 });
  });

  it.each(["client", "server"] as const)(
    "relays BYE of the %s and its 200, and stops the clock there (M11, M12)",
    (side) => {
      const other = side === "client" ? "server" : "client";
      const session = having(answer, ack);
      expect(session.send(bye(side))).toEqual(["relayBye"]);
      expect(session.context.leaving).toEqual([other]);
      expect(session.send(gone(other))).toEqual(["collectCharges", ...END]);
      expect(session.context).toMatchObject({ startedAt: 2000, endedAt: 9500, endedBy: side });
      expect(session.status).toBe("done");
    },
  );

  it("stops the clock when BYE was sent if its answer never comes (M12)", () => {
    const session = having(answer, ack, bye("client"));
    expect(session.send(notGone("server"))).toEqual(END);
    expect(session.context.endedAt).toBe(9000);
  });

  it("lets nobody who hung up wait too long for the other's answer; the client's time ends with the 200 that it gets then (M12)", () => {
    const late: SessionEvent = { type: "bye.late", at: 13_000 };
    const client = having(answer, ack, bye("client"));
    expect(client.send(late)).toEqual(END);
    expect(client.context).toMatchObject({ endedAt: 13_000, endedBy: "client" });
    // The app server hung up, and the client is not there to hear of it.
    const server = having(answer, ack, bye("server"));
    expect(server.send(late)).toEqual(END);
    expect(server.context).toMatchObject({ endedAt: 9_000, endedBy: "server" });
    const relay = having(answer, ack, end);
    expect(relay.send(gone("client"), late)).toEqual(["collectCharges", ...END]);
    expect(relay.context).toMatchObject({ endedAt: 8_000, endedBy: { code: "stops" } });
  });

  it("answers a BYE that crosses another", () => {
    const session = having(answer, ack, bye("client"));
    expect(session.send(bye("server"))).toEqual(["answerBye"]);
    expect(session.state).toBe("terminating");
  });

  it.each([gone("client", 12_000), notGone("client"), { type: "bye.late", at: 13_000 } as const])(
    "stops the clock with the 200 to a client's BYE that crosses the app server's, whatever follows (M12)",
    (then) => {
      const session = having(answer, ack, bye("server"));
      expect(session.send(bye("client", 9_100))).toEqual(["answerBye"]);
      expect(session.context.endedAt).toBe(9_100);
      session.send(then);
      expect(session.context).toMatchObject({ endedAt: 9_100, endedBy: "server" });
    },
  );

  it("takes charges while it lasts and until it has ended (M14)", () => {
    expect(having(answer, ack).send(charge)).toEqual(["recordCharge"]);
    expect(having(answer, ack, change).send(charge)).toEqual(["recordCharge"]);
    expect(having(answer, ack, bye("client")).send(charge)).toEqual(["recordCharge"]);
    expect(having(answer, ack, { type: "end", at: 1, ending: { code: "stops" } }).send(charge)).toEqual([
      "recordCharge",
    ]);
  });

  it("refuses charges before it is established (M14)", () => {
    expect(start().send(charge)).toContain("refuseMessage");
    expect(having(answer).send(charge)).toEqual(["refuseMessage"]);
  });

  it("tells the request that the app server refused (M5)", () => {
    const session = start();
    session.done();
    expect(session.send(failure)).toEqual(['reportFailure {"status":486}', "close"]);
    expect(session.status).toBe("done");
  });

  it("gives up an app server that says nothing, and waits for the end of its INVITE", () => {
    const session = start();
    session.done();
    expect(session.send({ type: "server.silent", failure: { status: 408 } })).toEqual([
      'reportFailure {"status":408}',
      "sendCancel",
      "dropProgress",
    ]);
    expect(session.state).toBe("cancelling");
    expect(session.send(failure)).toEqual(["close"]);
  });

  it("cancels, and ends an answer that crossed the CANCEL (RFC 3261 §9.1, M8)", () => {
    const session = start();
    session.done();
    expect(session.send({ type: "cancel" })).toEqual(["sendCancel", "dropProgress"]);
    expect(session.send(answer)).toEqual(["sendAck", "sendByes"]);
    expect(session.context.leaving).toEqual(["server"]);
    expect(session.send(gone("server"))).toEqual(["collectCharges", ...END]);
    expect(session.context.startedAt).toBeNull();
  });

  it.each(["inviting.proceeding", "inviting.withdrawing"])(
    "takes a BYE in the client's early dialog for giving this branch up, and none of the app server: %s (RFC 3261 §15)",
    (state) => {
      const session = state === "inviting.proceeding" ? having() : having({ type: "withdraw" });
      session.done();
      expect(session.send(bye("server"))).toEqual(["refuseMessage"]);
      expect(stateOf(session)).toBe(state);
      expect(session.send(bye("client"))).toEqual(["answerBye", "reportGivenUp", "sendCancel", "dropProgress"]);
      expect(session.state).toBe("cancelling");
    },
  );

  it("is withdrawn after a 6xx elsewhere: cancelled, but a 2xx that crosses the CANCEL counts (RFC 3261 §16.7, step 5)", () => {
    const session = start();
    session.done();
    expect(session.send({ type: "withdraw" })).toEqual(["sendCancel"]);
    expect(session.send(answer)).toEqual(["relayAnswer"]);
    expect(session.state).toBe("answered");
    const atOnce = start("answer");
    atOnce.send({ type: "withdraw" }, answer);
    expect(atOnce.context.startedAt).toBe(1000);
  });

  it("reports the end of its INVITE when it is withdrawn", () => {
    const withdrawn = () => having({ type: "withdraw" });
    expect(withdrawn().send(failure)).toEqual(['reportFailure {"status":486}', "close"]);
    expect(withdrawn().send({ type: "cancel" })).toEqual(["sendCancel", "dropProgress"]);
    const silent: SessionEvent = { type: "server.silent", failure: { status: 408 } };
    expect(withdrawn().send(silent)).toEqual(['reportFailure {"status":408}', "sendCancel", "dropProgress"]);
  });

  it("ends both legs when no ACK comes, and charges nothing (RFC 3261 §13.3.1.4)", () => {
    const session = having(answer);
    expect(session.send({ type: "client.silent", at: 33000 })).toEqual(["sendAck", "sendByes"]);
    expect(session.context.leaving).toEqual(["client", "server"]);
    expect(session.send(notGone("client"))).toEqual([]);
    expect(session.send(gone("server"))).toEqual(["collectCharges", ...END]);
    expect(session.context.startedAt).toBeNull();
  });

  it.each([bye("client"), bye("server")])("ends a session whose BYE comes before the ACK without a charge", (early) => {
    const session = having(answer);
    expect(session.send(early)).toEqual(["sendAck", "relayBye"]);
    expect(session.context.startedAt).toBeNull();
  });

  it.each([
    [
      { type: "lost", side: "client", at: 5000, detail: "no answer" },
      { code: "client-gone", detail: "no answer" },
    ],
    [{ type: "end", at: 5000, ending: { code: "stops" } }, { code: "stops" }],
  ] as const)("hangs up on both by itself: $0.type (M12)", (event, endedBy) => {
    const session = having(answer, ack);
    expect(session.send(event)).toEqual(["sendByes"]);
    session.send(gone("client"));
    expect(session.send(gone("server", 99999))).toEqual(["collectCharges", ...END]);
    expect(session.context).toMatchObject({ endedAt: 5000, endedBy });
    const early = having(answer);
    expect(early.send(event)).toEqual(["sendAck", "sendByes"]);
    expect(early.send(notGone("server"))).toEqual([]);
    expect(early.send(notGone("client"))).toEqual(END);
  });

  it.each([
    ["as it is", []],
    ["while a change is under way", [change]],
  ] as const)(
    "hangs up on both when a prepaid session's money is used up, and stops the clock there: %s",
    (_, before) => {
      const session = having(answer, ack, ...before);
      expect(session.send({ type: "credit.held", until: 62_000 })).toEqual([]);
      expect(session.context.creditUntil).toBe(62_000);
      expect(session.send({ type: "credit.exhausted", at: 62_000, code: "credit-exhausted" })).toEqual(["sendByes"]);
      session.send(gone("client", 62_100));
      expect(session.send(gone("server", 62_200))).toEqual(["collectCharges", ...END]);
      expect(session.context).toMatchObject({ endedAt: 62_000, endedBy: { code: "credit-exhausted" } });
    },
  );

  it("relays a change, and refuses another until it is done (RFC 3261 §14.2)", () => {
    const session = having(answer, ack);
    expect(session.send(change)).toEqual(["relayChange"]);
    expect(session.send({ ...change, from: "server" })).toEqual(["refuseChange"]);
    session.send({ type: "change.done" });
    expect(session.send(change)).toEqual(["relayChange"]);
  });

  it("relays other requests only while it is established", () => {
    expect(having(answer, ack).send(message)).toEqual(["relayMessage"]);
    expect(having(answer).send(message)).toEqual(["refuseMessage"]);
    expect(having(answer, ack, bye("client")).send(message)).toEqual(["refuseMessage"]);
  });

  it("begins a move only while it is established (M23)", () => {
    expect(having(answer, ack).send(refer)).toEqual(["startTransfer"]);
    expect(having(answer, ack, change).send(refer)).toEqual(["startTransfer"]);
    expect(having(answer).send(refer)).toEqual(["refuseMessage"]);
    expect(having(update).send(refer)).toEqual(["refuseMessage"]);
  });

  it("ends the app server's side, and charges nothing, when the client does not take what it was invited to (M23)", () => {
    const session = start("answer");
    session.send(answer);
    expect(session.send({ type: "client.refused", at: 2000 })).toEqual(["sendAck", "sendByes"]);
    expect(session.context).toMatchObject({ leaving: ["server"], startedAt: null });
    expect(session.send(gone("server"))).toEqual(["collectCharges", ...END]);
  });

  it.each([
    ["inviting.proceeding", []],
    ["inviting.withdrawing", [{ type: "withdraw" }]],
    ["cancelling", [{ type: "cancel" }]],
    ["answered", [answer]],
    ["terminating", [answer, ack, bye("client")]],
    ["leaving", [answer, ack, { type: "end", at: 1, ending: { code: "stops" } }]],
  ] as [string, SessionEvent[]][])("answers whatever comes at the wrong time: %s", (state, events) => {
    const session = having(...events);
    expect(session.send(change)).toEqual(["refuseChange"]);
    expect(session.send(message)).toEqual(["refuseMessage"]);
    expect(session.send(refer)).toEqual(["refuseMessage"]);
    if (state === "cancelling" || state === "inviting.withdrawing")
      expect(session.send(charge)).toEqual(["refuseMessage"]);
    if (state === "cancelling" || state === "leaving") expect(session.send(bye("client"))).toEqual(["answerBye"]);
    if (state !== "inviting.proceeding") expect(session.send(update)).toEqual(["refuseChange"]);
    expect(session.send(refresh)).toEqual([state === "answered" ? "answerRefresh" : "refuseChange"]);
    if (["cancelling", "terminating", "leaving"].includes(state))
      expect(session.send(prack)).toEqual(["refuseMessage"]);
    expect(stateOf(session)).toBe(state);
  });

  it("passes PRACK on as long as a reliable provisional answer may wait for one (RFC 3262 §3)", () => {
    expect(start().send(prack)).toContain("relayPrack");
    expect(having(update).send(prack)).toEqual(["relayPrack"]);
    expect(having({ type: "withdraw" }).send(prack)).toEqual(["relayPrack"]);
    expect(having(answer).send(prack)).toEqual(["relayPrack"]);
    expect(having(answer, ack).send(prack)).toEqual(["relayPrack"]);
    expect(having(answer, ack, change).send(prack)).toEqual(["relayPrack"]);
  });

  it.each([[], [update], [{ type: "withdraw" }]] as SessionEvent[][])(
    "gives a branch up whose reliable provisional answer the client never acknowledges (RFC 3262 §3)",
    (...events) => {
      const session = having(...events);
      expect(session.send(silence)).toEqual([
        'reportFailure {"status":504,"reason":"No PRACK"}',
        "sendCancel",
        "dropProgress",
      ]);
      expect(session.state).toBe("cancelling");
    },
  );

  it("relays an UPDATE in the early dialog, and refuses another until it is done (RFC 3311 §5.2)", () => {
    const session = having();
    session.done();
    expect(session.send(update)).toEqual(["relayEarlyUpdate"]);
    expect(session.send({ ...update, from: "server" } as SessionEvent)).toEqual(["refuseChange"]);
    session.send({ type: "change.done" });
    expect(session.send(update)).toEqual(["relayEarlyUpdate"]);
    expect(having(answer, ack).send(update)).toEqual(["refuseChange"]);
    expect(having(answer, ack, change).send(update)).toEqual(["refuseChange"]);
  });

  it("goes on as at any other time while an UPDATE is under way in the early dialog", () => {
    const updating = (clock: "ack" | "answer" = "ack") => {
      const session = start(clock);
      session.send(update);
      return session;
    };
    const silent: SessionEvent = { type: "server.silent", failure: { status: 408 } };
    expect(updating().send({ type: "server.progress", payload: UNREAD })).toEqual(["relayProgress"]);
    expect(updating().send(answer)).toEqual(["relayAnswer"]);
    expect(updating("answer").send(answer)).toEqual(["recordStart", "relayAnswer"]);
    expect(updating().send(failure)).toEqual(['reportFailure {"status":486}', "close"]);
    expect(updating().send(silent)).toEqual(['reportFailure {"status":408}', "sendCancel", "dropProgress"]);
    expect(updating().send({ type: "cancel" })).toEqual(["sendCancel", "dropProgress"]);
    expect(updating().send({ type: "withdraw" })).toEqual(["sendCancel"]);
    expect(updating().send(bye("client"))).toEqual(["answerBye", "reportGivenUp", "sendCancel", "dropProgress"]);
    expect(updating().send(bye("server"))).toEqual(["refuseMessage"]);
    expect(updating().send(change)).toEqual(["refuseChange"]);
    expect(updating().send(message)).toEqual(["refuseMessage"]);
    expect(updating().send(charge)).toEqual(["refuseMessage"]);
  });

  it("ends in the middle of a change as at any other time", () => {
    expect(having(answer, ack, change).send(message)).toEqual(["relayMessage"]);
    expect(having(answer, ack, change).send(bye("server"))).toEqual(["relayBye"]);
    expect(having(answer, ack, change).send({ type: "end", at: 1, ending: { code: "stops" } })).toEqual(["sendByes"]);
    const lost: SessionEvent = { type: "lost", side: "client", at: 1, detail: "gone" };
    expect(having(answer, ack, change).send(lost)).toEqual(["sendByes"]);
  });

  it("asks for another service beside the present one, which goes on when that is refused (M20, M21; RFC 6141)", () => {
    const session = having(answer, ack);
    expect(session.send(another)).toEqual(["askService"]);
    expect(session.state).toEqual({ established: "asking" });
    expect(session.send(message, charge)).toEqual(["relayMessage", "recordCharge"]);
    expect(session.send(change, another)).toEqual(["refuseChange", "refuseChange"]);
    expect(session.send({ type: "change.done" })).toEqual([]);
    expect(session.state).toEqual({ established: "steady" });
    expect(session.context.endedBy).toBeNull();
  });

  it("gives way to the part that has taken the client over: BYE to the app server left, none to the client (M21)", () => {
    const session = having(answer, ack, another);
    expect(session.send({ type: "change.taken", at: 7000, keepsServer: false })).toEqual(["sendByes"]);
    expect(session.context).toMatchObject({ leaving: ["server"], endedBy: "change", byeAt: 7000 });
    expect(session.send(gone("server"))).toEqual(["collectCharges", ...END]);
    expect(session.context.endedAt).toBe(7000);
  });

  it("gives way at once where the app server is the same (M20, M22)", () => {
    const session = having(answer, ack, another);
    expect(session.send({ type: "change.taken", at: 7000, keepsServer: true })).toEqual(END);
    expect(session.status).toBe("done");
    expect(session.context).toMatchObject({ leaving: [], endedBy: "change", endedAt: 7000 });
  });

  it("answers a wish for another service at any other time", () => {
    const silent: SessionEvent = { type: "server.silent", failure: { status: 408 } };
    const early = [[], [{ type: "withdraw" }], [silent], [update]] as SessionEvent[][];
    for (const events of early) {
      const session = start();
      session.send(...events);
      expect(session.send(another)).toEqual(["refuseChange"]);
    }
    for (const events of [[answer], [answer, ack, change], [answer, ack, bye("client")], [answer, ack, end]])
      expect(having(...events).send(another)).toEqual(["refuseChange"]);
  });

  it("ends while another service is asked for as at any other time", () => {
    const asking = () => having(answer, ack, another);
    expect(asking().send(bye("client"))).toEqual(["relayBye"]);
    expect(asking().send(bye("server"))).toEqual(["relayBye"]);
    expect(asking().send({ type: "lost", side: "server", at: 1, detail: "gone" })).toEqual(["sendByes"]);
    expect(asking().send(end)).toEqual(["sendByes"]);
    expect(asking().send({ type: "credit.exhausted", at: 1, code: "credit-exhausted" })).toEqual(["sendByes"]);
    expect(asking().send({ type: "credit.held", until: 5 })).toEqual([]);
    expect(asking().send(prack)).toEqual(["relayPrack"]);
    expect(asking().send(refer)).toEqual(["refuseChange"]);
    expect(asking().send(update)).toEqual(["refuseChange"]);
  });

  it("answers whoever refreshes the session, whatever is under way (RFC 4028 §9)", () => {
    for (const events of [[answer], [answer, ack], [answer, ack, change], [answer, ack, another]])
      expect(having(...events).send(refresh)).toEqual(["answerRefresh"]);
    expect(having(answer, ack, refreshDue).send(refresh)).toEqual(["answerRefresh"]);
    expect(having(update).send(refresh)).toEqual(["refuseChange"]);
  });

  it("refreshes with one end, and refuses a change until that is done (RFC 4028 §10)", () => {
    const session = having(answer, ack);
    expect(session.send(refreshDue)).toEqual(["sendRefresh"]);
    expect(session.state).toEqual({ established: "refreshing" });
    expect(session.send(change, another, update)).toEqual(["refuseChange", "refuseChange", "refuseChange"]);
    expect(session.send(message, charge, prack, refer)).toEqual([
      "relayMessage",
      "recordCharge",
      "relayPrack",
      "startTransfer",
    ]);
    expect(session.send({ type: "credit.held", until: 5 })).toEqual([]);
    session.send({ type: "change.done" });
    expect(session.state).toEqual({ established: "steady" });
  });

  it("ends in the middle of a refresh as at any other time", () => {
    const refreshing = () => having(answer, ack, refreshDue);
    expect(refreshing().send(bye("client"))).toEqual(["relayBye"]);
    expect(refreshing().send({ type: "lost", side: "client", at: 1, detail: "gone" })).toEqual(["sendByes"]);
    expect(refreshing().send(end)).toEqual(["sendByes"]);
    expect(refreshing().send({ type: "credit.exhausted", at: 1, code: "credit-exhausted" })).toEqual(["sendByes"]);
  });

  it("keeps a context that is small JSON (decision 12)", () => {
    const session = having(answer, ack, bye("client"));
    const text = JSON.stringify(session.context);
    expect(JSON.parse(text)).toEqual(session.context);
    expect(text.length).toBeLessThan(300);
  });

  itTakesEveryTransition(sessionMachine);
});
