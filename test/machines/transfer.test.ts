import { describe, expect, it } from "vitest";
import type { TransferEvent } from "../../machines/events.ts";
import { transferMachine } from "../../machines/transfer.ts";
import { UNREAD } from "./chart-events.ts";
import { run } from "./harness.ts";
import { itTakesEveryTransition } from "./pairs.ts";

const allowed: TransferEvent = { type: "refer.allowed", until: 180_000 };
const progress: TransferEvent = { type: "target.progress", payload: UNREAD };
const answer: TransferEvent = { type: "target.answer", payload: UNREAD };
const accepted: TransferEvent = { type: "client.accepted", payload: UNREAD };
const subscribe: TransferEvent = { type: "subscribe", until: 60_000, payload: UNREAD };

function having(...events: TransferEvent[]) {
  const transfer = run(transferMachine, { id: "t1" });
  transfer.send(...events);
  return transfer;
}

describe("the chart transfer", () => {
  it("takes the REFER, asks the second app server, invites the client, and connects the two (M23)", () => {
    const transfer = run(transferMachine, { id: "t1" });
    expect(transfer.done()).toEqual(["check"]);
    expect(transfer.send(allowed)).toEqual(["acceptRefer", "askServer"]);
    expect(transfer.context.subscribedUntil).toBe(180_000);
    expect(transfer.send(progress)).toEqual(["reportProgress"]);
    expect(transfer.send(answer)).toEqual(["inviteClient"]);
    expect(transfer.send(accepted)).toEqual(["reportSuccess", "connect", "close"]);
    expect(transfer.state).toBe("moved");
    expect(transfer.status).toBe("done");
  });

  it("refuses what may not be, and nothing follows", () => {
    const transfer = run(transferMachine, { id: "t1" });
    transfer.done();
    expect(transfer.send({ type: "refer.refused", failure: { status: 403 } })).toEqual([
      'refuseRefer {"status":403}',
      "close",
    ]);
    expect(transfer.status).toBe("done");
  });

  it("reports a refusal of the second app server, and ends", () => {
    const transfer = having(allowed);
    expect(transfer.send({ type: "target.failure", failure: { status: 486 } })).toEqual([
      'reportFailure {"status":486}',
      "close",
    ]);
    expect(transfer.state).toBe("failed");
  });

  it("gives the second app server up when the client hangs up before its answer", () => {
    expect(having(allowed).send({ type: "client.left" })).toEqual([
      "withdrawRequest",
      'reportFailure {"status":487}',
      "close",
    ]);
  });

  it("ends the second app server's side when the client does not take it", () => {
    expect(having(allowed, answer).send({ type: "client.refused", failure: { status: 603 } })).toEqual([
      "dropTarget",
      'reportFailure {"status":603}',
      "close",
    ]);
  });

  it("takes its INVITE to the client back when the second app server hangs up", () => {
    expect(having(allowed, answer).send({ type: "target.lost" })).toEqual([
      "cancelInvite",
      'reportFailure {"status":480}',
      "close",
    ]);
  });

  it.each([
    ["checking", []],
    ["asking", [allowed]],
    ["inviting", [allowed, answer]],
  ] as [string, TransferEvent[]][])("goes on whether or not anybody is told: %s (RFC 3515 §2.4.4)", (state, events) => {
    const transfer = having(...events);
    expect(transfer.send(subscribe)).toEqual(["answerSubscribe"]);
    expect(transfer.context.subscribedUntil).toBe(60_000);
    expect(transfer.send({ type: "reports.over" })).toEqual(["endReports"]);
    expect(transfer.context.subscribedUntil).toBeNull();
    expect(transfer.state).toBe(state);
  });

  it("keeps a context that is small JSON (decision 12)", () => {
    const { context } = having(allowed, answer);
    expect(JSON.parse(JSON.stringify(context))).toEqual(context);
  });

  itTakesEveryTransition(transferMachine);
});
