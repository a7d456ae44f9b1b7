import { expect, it } from "vitest";
import { chargeMade } from "../../src/charging/events/events.ts";
import type { Copies } from "../../src/cluster/copies.ts";
import { CopiedRecorder } from "../../src/node/keepers.ts";
import { aCharge, deferred, facts, JANUARY } from "../charging/samples.ts";

it.each([true, false])(
  "a session is copied again when a charge of it counts as recorded, with what its book has then (waits for the copy: %s)",
  async (waits) => {
    const disk = deferred();
    const standby = deferred();
    const seen: string[] = [];
    const copies = {
      events: { record: () => standby.promise },
      charged: () => void seen.push("copied again"),
    } as unknown as Copies;
    const recorder = new CopiedRecorder({ append: () => disk.promise, full: false }, copies, waits);
    void recorder.append(chargeMade(facts(), JANUARY, aCharge(), "info")).then(() => seen.push("in the book"));
    disk.resolve();
    await new Promise(setImmediate);
    if (waits) expect(seen).toEqual([]);
    standby.resolve();
    await new Promise(setImmediate);
    expect([...seen].sort()).toEqual(["copied again", "in the book"]);
  },
);
