import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bindingIn, dataOf } from "../../src/registrar/store.ts";
import type { Store } from "../../src/store/types.ts";
import { binding } from "../registrar/samples.ts";
import type { StoreAdapter, StoreUnderTest } from "./adapters.ts";

/** What every store of bindings has to do. */
export function bindingsContract(adapter: StoreAdapter): void {
  describe(`${adapter.name}: what clients have registered (RFC 3261 §10)`, () => {
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

    const stored = (id: string, over: Parameters<typeof binding>[0] = {}) => ({ id, data: dataOf(binding(over), 0) });
    const found = async (of: Store) =>
      (await of.bindings.list()).map(({ id, data }) => [id, data.contact]).sort(([a], [b]) => (a! < b! ? -1 : 1));

    it("is added, replaced and removed, and another process sees it", async () => {
      await store.bindings.write([stored("a"), stored("b", { contact: "sip:b@192.0.2.9" })], []);
      const other = await place.open();
      try {
        expect(await found(other)).toEqual([
          ["a", "sip:alice@192.0.2.50:5062"],
          ["b", "sip:b@192.0.2.9"],
        ]);
        await other.bindings.write([stored("a", { contact: "sip:new@192.0.2.9" })], ["b", "never"]);
      } finally {
        await other.close();
      }
      expect(await found(store)).toEqual([["a", "sip:new@192.0.2.9"]]);
    });

    it("comes back as it was", async () => {
      const over = {
        path: ["<sip:192.0.2.7;lr>"],
        behind: { transport: "udp", address: "192.0.2.9", port: 9 },
      } as const;
      await store.bindings.write([stored("a", over)], []);
      const [found] = await store.bindings.list();
      expect(bindingIn(found?.data, 5)).toEqual(bindingIn(dataOf(binding(over), 0), 5));
    });

    it("may be nothing", async () => {
      await store.bindings.write([], []);
      expect(await store.bindings.list()).toEqual([]);
    });
  });
}
