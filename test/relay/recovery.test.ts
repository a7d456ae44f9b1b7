import { expect, it } from "vitest";
import { billEvent } from "../../src/charging/billing.ts";
import { type ChargingEvent, sessionStarted } from "../../src/charging/events.ts";
import type { Journal } from "../../src/charging/journal.ts";
import { endOrphans } from "../../src/relay/recovery.ts";
import { MemoryBilling } from "../charging/memory-store.ts";
import { facts, JANUARY, silent } from "../charging/samples.ts";
import { TestClock } from "../support/test-clock.ts";

it("a session that an earlier run left running ends with all that was known of it: its hold, its window, its taxes, the part before it (M15, M20)", async () => {
  const billing = new MemoryBilling();
  const how = { store: { billing }, clock: new TestClock(), log: silent };
  const terms = { taxes: [{ id: "vat", rate: "19", included: false }], fee: { percent: "5" } };
  const previous = { session: "s1", by: "change" } as const;
  const session = facts({ id: "s2", hold: "h2", lateChargesMs: 60_000, terms, previous });
  await billEvent(how, sessionStarted(session, JANUARY));
  const appended: ChargingEvent[] = [];
  const journal = {
    append: async (event: ChargingEvent) => {
      appended.push(event);
      await billEvent(how, event);
    },
    drained: async () => {},
  } as unknown as Journal;
  expect(await endOrphans({ journal, billing, lastBeatAt: JANUARY + 7_000, log: silent })).toBe(1);
  expect(appended).toMatchObject([{ type: "session.ended", session, startedAt: JANUARY, durationMs: 7_000 }]);
  const [account] = await billing.accounts(["s2"]);
  expect(account).toMatchObject({ state: "chargeable", context: { dueAt: JANUARY + 67_000 } });
  expect(await billing.entriesOf("s2")).toMatchObject([
    { previous: { session: "s1", by: "change" }, terms, prepaid: true },
  ]);
});
