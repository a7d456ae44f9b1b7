import { describe, expect, it } from "vitest";
import { Outbox } from "../../src/cluster/outbox.ts";
import { CUT_OFF_MS, DEAD_MS } from "../../src/cluster/patience.ts";
import { TestClock } from "../support/test-clock.ts";
import { Wire } from "./wire.ts";

function outbox() {
  const clock = new TestClock();
  const wire = new Wire();
  const self = { node: "node01", epoch: 1 };
  const made = new Outbox({ self, bus: wire.of("node01"), clock, fill: () => {}, opening: () => "" });
  made.start();
  return { clock, made };
}

const parcel = { arrived: () => {}, lost: () => {} };

describe("what waits for its copy (P3)", () => {
  it("waits until a node that is cut off is silent, so that nobody hears of a session without a copy", () => {
    const { clock, made } = outbox();
    let wentOn = 0;
    made.add("node02", "+ line", parcel, [() => wentOn++]);
    made.soon();
    clock.advance(Math.max(CUT_OFF_MS, DEAD_MS));
    expect(wentOn).toBe(0);
    clock.advance(200);
    expect([wentOn, made.late]).toEqual([1, 1]);
  });

  it("goes on at once when the other node is dead", () => {
    const { clock, made } = outbox();
    let wentOn = 0;
    made.add("node02", "+ line", parcel, [() => wentOn++]);
    made.soon();
    clock.advance(DEAD_MS);
    made.gone("node02");
    expect(wentOn).toBe(1);
  });
});
