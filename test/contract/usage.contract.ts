import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Store } from "../../src/store/types.ts";
import type { UsageLetter } from "../../src/usage/letters.ts";
import { JANUARY } from "../charging/samples.ts";
import type { StoreAdapter, StoreUnderTest } from "./adapters.ts";

const letter = (id: string, over: Partial<UsageLetter> = {}): UsageLetter => ({
  id,
  sink: "stripe",
  at: JANUARY,
  reason: "status 400",
  event: "{}",
  ...over,
});

/** What every store does with events that no endpoint takes. */
export function usageContract(adapter: StoreAdapter): void {
  describe(`${adapter.name}: usage that was not taken`, () => {
    let place: StoreUnderTest;
    let store: Store;
    beforeEach(async () => {
      place = await adapter.create();
      store = await place.open();
    });
    afterEach(async () => {
      await store.close();
      await place.destroy();
    });

    it("is kept, replaced and removed by its id", async () => {
      const { usage } = store;
      await usage.put(letter("stripe:s1:ended"));
      await usage.put(letter("stripe:s1:ended", { reason: "status 422" }));
      expect(await usage.get("stripe:s1:ended")).toEqual(letter("stripe:s1:ended", { reason: "status 422" }));
      expect(await usage.remove("stripe:s1:ended")).toBe(true);
      expect(await usage.remove("stripe:s1:ended")).toBe(false);
      expect(await usage.get("stripe:s1:ended")).toBeUndefined();
    });

    it("is listed page by page, in one order", async () => {
      const ids = ["a:1", "a:2", "b:1", "b:2", "c:1"];
      for (const id of [...ids].reverse()) await store.usage.put(letter(id));
      const first = await store.usage.list(3);
      const rest = await store.usage.list(3, first.at(-1)!.id);
      expect([...first, ...rest].map(({ id }) => id)).toEqual(ids);
    });

    it("is listed of one sink, in full pages however much stands before and between", async () => {
      const { usage } = store;
      for (const sink of ["lago", "lago-2", "lago2", "stripe"])
        for (let n = 1; n <= 5; n++) await usage.put(letter(`${sink}:s${n}:ended`, { sink }));
      const first = await usage.list(3, undefined, "lago2");
      expect(first.map(({ id }) => id)).toEqual(["lago2:s1:ended", "lago2:s2:ended", "lago2:s3:ended"]);
      const rest = await usage.list(3, first.at(-1)!.id, "lago2");
      expect(rest.map(({ id }) => id)).toEqual(["lago2:s4:ended", "lago2:s5:ended"]);
      expect(await usage.list(3, rest.at(-1)!.id, "lago2")).toEqual([]);
      expect(await usage.list(9, undefined, "lago")).toHaveLength(5);
      // `after` may be another sink's: before these, or behind them.
      expect(await usage.list(9, "lago-2:s5:ended", "lago2")).toHaveLength(5);
      expect(await usage.list(9, "stripe:s1:ended", "lago2")).toEqual([]);
      expect(await usage.list(9, undefined, "lag")).toEqual([]);
    });

    it("may have the longest id that an event can have", async () => {
      const long = `stripe:${"é".repeat(1_300)}`;
      await store.usage.put(letter(long));
      await store.usage.put(letter(`${long}2`));
      expect((await store.usage.get(long))?.id).toBe(long);
      expect(await store.usage.list(5, (await store.usage.list(1))[0]!.id)).toHaveLength(1);
      expect(await store.usage.remove(long)).toBe(true);
      expect(await store.usage.list(5)).toHaveLength(1);
    });
  });
}
