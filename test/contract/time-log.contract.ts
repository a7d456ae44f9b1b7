import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry } from "../../src/calls/audit.ts";
import type { Store } from "../../src/store/types.ts";
import { timePrefix } from "../../src/support/random.ts";
import { JANUARY } from "../charging/samples.ts";
import type { StoreAdapter, StoreUnderTest } from "./adapters.ts";

const entry = (n: number): AuditEntry => ({
  id: `${timePrefix(JANUARY + n * 1_000)}0000x`,
  ...{ at: JANUARY + n * 1_000, who: "ann", role: "operator", from: "198.51.100.7" },
  ...{ what: "blockUser", kind: "change", of: { id: `user${n}`, end: true }, outcome: "done" },
});

/** What every log in the order of time has to do, such as the audit log. */
export function timeLogContract(adapter: StoreAdapter): void {
  describe(`${adapter.name}: a log in the order of time`, () => {
    let place: StoreUnderTest;
    let store: Store;
    beforeEach(async () => {
      place = await adapter.create();
      store = await place.open();
      for (let n = 0; n < 6; n++) await store.audit.add(entry(n));
    });
    afterEach(async () => {
      await store.close();
      await place.destroy();
    });

    it("has an entry that is added again once", async () => {
      await store.audit.add(entry(5));
      expect((await store.audit.page({ most: 2 })).entries).toEqual([5, 4].map(entry));
    });

    it("gives back the newest first, page by page, all of an entry", async () => {
      const first = await store.audit.page({ most: 4 });
      expect(first.entries).toEqual([5, 4, 3, 2].map(entry));
      const second = await store.audit.page({ most: 4, before: first.next! });
      expect(second).toEqual({ entries: [1, 0].map(entry) });
    });

    it("gives back those since a time", async () => {
      const { entries, next } = await store.audit.page({ most: 10, since: JANUARY + 4_000 });
      expect(entries).toEqual([5, 4].map(entry));
      expect(next).toBeUndefined();
    });

    it("forgets what is old, and what is too many", async () => {
      expect(await store.audit.forget({ before: JANUARY + 1_000, most: 100 })).toBe(1);
      expect(await store.audit.forget({ before: 0, most: 2 })).toBe(3);
      expect((await store.audit.page({ most: 10 })).entries).toEqual([5, 4].map(entry));
      expect(await store.audit.forget({ before: 0, most: 2 })).toBe(0);
    });

    it("keeps tokens and app servers out of service, as what else is registered", async () => {
      const token = { id: "ann", role: "operator", hash: "ab", createdAt: JANUARY, expiresAt: JANUARY + 1 } as const;
      const before = await store.directoryVersion();
      await store.tokens.put(token);
      await store.outOfService.put({ id: "shop", since: JANUARY });
      expect(await store.tokens.list()).toEqual([token]);
      expect(await store.outOfService.list()).toEqual([{ id: "shop", since: JANUARY }]);
      expect(await store.directoryVersion()).toBeGreaterThan(before);
    });
  });
}
