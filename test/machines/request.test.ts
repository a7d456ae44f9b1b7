import { describe, expect, it } from "vitest";
import type { Fork, RequestEvent } from "../../machines/events.ts";
import { betterFailure, requestMachine } from "../../machines/request.ts";
import { run } from "./harness.ts";
import { itTakesEveryTransition } from "./pairs.ts";

const accepted: RequestEvent = { type: "user.accepted", user: "alice" };
const identified = (fork: Fork = "sequential"): RequestEvent => ({ type: "service.identified", service: "wine", fork });
const found = (...servers: string[]): RequestEvent => ({ type: "servers.found", servers });
const answered = (branch: string): RequestEvent => ({ type: "branch.answered", branch });
const failed = (branch: string, status: number): RequestEvent => ({
  type: "branch.failed",
  branch,
  failure: { status, branch },
});

const released = (branch: string): RequestEvent => ({ type: "branch.released", branch });

const start = () => run(requestMachine, { id: "r1" });
function inviting(fork: Fork, ...servers: string[]) {
  const request = start();
  request.send(accepted, identified(fork), found(...servers));
  return request;
}

describe("the chart request", () => {
  it("authenticates, identifies, searches and invites, in this order (M2-M5)", () => {
    const request = start();
    expect(request.done()).toEqual(["reportSignIn"]);
    expect(request.send(accepted)).toEqual(["identify"]);
    expect(request.send(identified())).toEqual(["search"]);
    expect(request.send(found("a"))).toEqual(["inviteServers"]);
    expect(request.state).toBe("inviting");
    expect(request.context).toMatchObject({ user: "alice", service: "wine", asked: ["a"], waiting: [] });
  });

  it("rejects who is not a user and asks nobody (M2)", () => {
    const request = start();
    request.done();
    expect(request.send({ type: "user.refused", failure: { status: 401 } })).toEqual([
      'reject {"status":401}',
      "cancelBranches",
      "close",
    ]);
    expect(request.state).toBe("rejected");
  });

  it("rejects what no rule knows (M3)", () => {
    const request = start();
    request.send(accepted);
    expect(request.send({ type: "service.refused", failure: { status: 404 } })).toContain('reject {"status":404}');
  });

  it("rejects with 404 where nobody offers the service (M4)", () => {
    const request = start();
    request.send(accepted, identified());
    expect(request.send({ type: "servers.none", failure: { status: 404 } })).toContain('reject {"status":404}');
  });

  it("holds credit of a prepaid user before anybody is asked, and asks those that there is credit for", () => {
    const request = start();
    request.send(accepted, identified());
    const found = { type: "servers.found", servers: ["a", "b"], prepaid: true } as const;
    expect(request.send(found)).toEqual(["reserve"]);
    expect(request.context.waiting).toEqual(["a", "b"]);
    expect(request.send({ type: "credit.held", servers: ["b"] })).toEqual(["inviteServers"]);
    expect(request.context.asked).toEqual(["b"]);
  });

  it("rejects with 402 where there is no credit (RFC 3261 §21.4.3)", () => {
    const request = start();
    request.send(accepted, identified(), { type: "servers.found", servers: ["a"], prepaid: true });
    const refused = { type: "credit.refused", failure: { status: 402 } } as const;
    expect(request.send(refused)).toEqual(['reject {"status":402}', "cancelBranches", "close"]);
  });

  it("is answered by the first success of one server after the other (M5)", () => {
    const request = inviting("sequential", "a", "b");
    expect(request.context.asked).toEqual(["a"]);
    expect(request.send(answered("a"))).toEqual(["cancelBranches", "close"]);
    expect(request.state).toBe("answered");
    expect(request.status).toBe("done");
  });

  it("asks the next server when one fails, and the last failure ends it (M5)", () => {
    const request = inviting("sequential", "a", "b");
    expect(request.send(failed("a", 408))).toEqual(["inviteServers"]);
    expect(request.context.asked).toEqual(["b"]);
    expect(request.send(failed("b", 503))).toEqual(['reject {"status":408,"branch":"a"}', "cancelBranches", "close"]);
  });

  it("asks nobody else after a 6xx (RFC 3261 §16.7)", () => {
    const request = inviting("sequential", "a", "b");
    expect(request.send(failed("a", 603))).toContain('reject {"status":603,"branch":"a"}');
  });

  it("asks all at once and takes the first success (M8)", () => {
    const request = inviting("first", "a", "b", "c");
    expect(request.context.asked).toEqual(["a", "b", "c"]);
    expect(request.send(failed("a", 486))).toEqual([]);
    expect(request.send(answered("c"))).toEqual(["cancelBranches", "close"]);
  });

  it("takes every success where all count (M25)", () => {
    const request = inviting("all", "a", "b", "c", "d");
    expect(request.send(answered("a"))).toEqual(["awaitFurther"]);
    expect(request.send(answered("d"))).toEqual([]);
    expect(request.send(failed("b", 486))).toEqual([]);
    expect(request.send(answered("c"))).toEqual(["cancelBranches", "close"]);
    expect(request.context.answers).toBe(3);
  });

  it("is answered by one success where it is the only branch, and by the last of several (M25)", () => {
    expect(inviting("all", "a").send(answered("a"))).toEqual(["cancelBranches", "close"]);
    const request = inviting("all", "a", "b");
    request.send(failed("a", 486));
    expect(request.send(answered("b"))).toEqual(["cancelBranches", "close"]);
  });

  it("waits only so long for further successes (M25; RFC 6026 §7.1)", () => {
    const request = inviting("all", "a", "b", "c");
    request.send(answered("a"));
    expect(request.send({ type: "wait.over" })).toEqual(["cancelBranches", "close"]);
    expect(request.state).toBe("answered");
  });

  it("ends the search with a 6xx after a success, and the success stands (M25; RFC 3261 §16.7, step 5)", () => {
    const request = inviting("all", "a", "b", "c");
    request.send(answered("a"));
    expect(request.send(failed("b", 603))).toEqual(["cancelBranches", "close"]);
    expect(request.state).toBe("answered");
  });

  it.each([
    ["client.cancel", "collecting"],
    ["client.lost", "collecting"],
    ["client.cancel", "declined"],
    ["client.lost", "declined"],
  ] as const)("is given up by %s while %s", (type, state) => {
    const request = inviting("all", "a", "b");
    request.send(state === "collecting" ? answered("a") : failed("a", 603));
    expect(request.state).toBe(state);
    expect(request.send({ type })).toEqual(["confirmCancel", "cancelBranches", "close"]);
  });

  it("withdraws the others at a 6xx and waits for their ends before it says so (RFC 3261 §16.7, step 5)", () => {
    const request = inviting("first", "a", "b", "c", "d");
    expect(request.send(failed("a", 600))).toEqual(["withdrawBranches"]);
    expect(request.send(failed("b", 487))).toEqual([]);
    expect(request.send(released("d"))).toEqual([]);
    expect(request.send(failed("c", 487))).toEqual(['reject {"status":600,"branch":"a"}', "cancelBranches", "close"]);
    const last = inviting("first", "a", "b");
    last.send(failed("a", 600));
    expect(last.send(released("b"))).toContain('reject {"status":600,"branch":"a"}');
  });

  it("is answered by a success that crosses the CANCEL after a 6xx (RFC 3261 §16.7, step 5)", () => {
    const request = inviting("first", "a", "b", "c");
    request.send(failed("a", 600));
    expect(request.send(answered("b"))).toEqual(["cancelBranches", "close"]);
    const last = inviting("first", "a", "b");
    last.send(failed("a", 600));
    expect(last.send(answered("b"))).toEqual(["cancelBranches", "close"]);
    const all = inviting("all", "a", "b", "c");
    all.send(failed("a", 600));
    expect(all.send(answered("b"))).toEqual([]);
    expect(all.send(failed("c", 487))).toEqual(["cancelBranches", "close"]);
    expect(all.state).toBe("answered");
  });

  it("goes on without a branch whose early dialog the client ended; without the last it is cancelled (RFC 3261 §15)", () => {
    const request = inviting("first", "a", "b");
    expect(request.send(released("a"))).toEqual([]);
    expect(request.context.asked).toEqual(["b"]);
    expect(request.send(released("b"))).toEqual(["confirmCancel", "cancelBranches", "close"]);
    const all = inviting("all", "a", "b", "c");
    all.send(answered("a"));
    expect(all.send(released("b"))).toEqual([]);
    expect(all.send(released("c"))).toEqual(["cancelBranches", "close"]);
    expect(all.state).toBe("answered");
  });

  it("is answered although the last branch failed, when another answered before (M25)", () => {
    const request = inviting("all", "a", "b");
    request.send(answered("a"));
    expect(request.send(failed("b", 503))).toEqual(["cancelBranches", "close"]);
    expect(request.state).toBe("answered");
  });

  it.each([
    ["authenticating", []],
    ["identifying", [accepted]],
    ["searching", [accepted, identified()]],
    ["reserving", [accepted, identified(), { ...found("a", "b"), prepaid: true }]],
    ["inviting", [accepted, identified(), found("a", "b")]],
  ])("is cancelled while %s (RFC 3261 §9.2)", (state, events) => {
    const request = start();
    request.send(...(events as RequestEvent[]));
    expect(request.state).toBe(state);
    expect(request.send({ type: "client.cancel" })).toEqual(["confirmCancel", "cancelBranches", "close"]);
    expect(request.state).toBe("cancelled");
    // The same where the client is gone.
    const lost = start();
    lost.send(...(events as RequestEvent[]));
    expect(lost.send({ type: "client.lost" })).toEqual(["confirmCancel", "cancelBranches", "close"]);
  });

  it.each([
    [486, 603, 603],
    [503, 486, 486],
    [408, 503, 408],
    [500, 404, 404],
    [404, 401, 401],
    [404, 486, 404],
    [408, 404, 404],
    [500, 408, 408],
    [404, 302, 302],
    [503, 500, 500],
    [503, 503, 503],
    [600, 606, 600],
    [486, 484, 484],
  ])("of %i and %i tells the client %i (RFC 3261 §16.7, step 6)", (a, b, best) => {
    expect(betterFailure({ status: a }, { status: b }).status).toBe(best);
  });

  itTakesEveryTransition(requestMachine);
});
