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
