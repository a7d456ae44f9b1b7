import { join } from "node:path";
import { parseArgs } from "node:util";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import type { Bus } from "../../src/bus/types.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { type ChargingEvent, chargeMade, sessionEnded, sessionStarted } from "../../src/charging/events/events.ts";
import { openJournal } from "../../src/charging/journal/journal.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { clock, cpuMicros, facts, fillMonth, inFolder, log, timeBill } from "./charging-load.ts";

/*
 * What charging takes of the process's CPU, in microseconds, all threads and the kernel's part included. Run it under
 * plain node, compiled: under vitest XState loads its development build.
 */

const TICK_MS = 5;

const { values } = parseArgs({
  options: {
    rate: { type: "string", default: "2000" },
    seconds: { type: "string", default: "5" },
    charges: { type: "string", default: "1000000" },
    json: { type: "boolean", default: false },
  },
});
const rate = Number(values.rate);
const seconds = Number(values.seconds);

/** Calls `each` `perSecond` times a second for `seconds`, evenly. Returns how often. */
function paced(perSecond: number, each: (n: number) => void): Promise<number> {
  const start = performance.now();
  const most = perSecond * seconds;
  let done = 0;
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(most, Math.floor(((performance.now() - start) * perSecond) / 1000));
      while (done < due) each(done++);
      if (done < most) return;
      clearInterval(timer);
      resolve(done);
    }, TICK_MS);
  });
}

/** What the pace itself costs: to be taken off. */
async function idleMicros(): Promise<number> {
  const before = cpuMicros();
  await paced(rate, (n) => facts(n));
  return cpuMicros() - before;
}

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.floor(sorted.length * share)] ?? Number.NaN;

async function journalAlone(idle: number): Promise<Record<string, number>> {
  return inFolder(async (path) => {
    const bus: Bus = { publish: async () => {}, consume: async () => async () => {}, close: async () => {} };
    const journal = await openJournal({ path, bus, clock, log });
    const waited: number[] = [];
    const before = cpuMicros();
    let last: Promise<void> = Promise.resolve();
    const appends = await paced(rate, (n) => {
      const at = performance.now();
      last = journal.append(sessionStarted(facts(n), Date.now())).then(() => void waited.push(performance.now() - at));
    });
    await last;
    await journal.drained();
    const cpu = cpuMicros() - before - idle;
    const { commits } = journal.stats();
    await journal.close();
    waited.sort((a, b) => a - b);
    return {
      perAppend: cpu / appends,
      commits,
      appends,
      p50Ms: percentile(waited, 0.5),
      p99Ms: percentile(waited, 0.99),
    };
  });
}

/** Sessions with start, one charge and end, from the journal through the bus to entries in the store. */
async function wholeWay(idle: number): Promise<Record<string, number>> {
  return inFolder(async (folder) => {
    const store = await openEmbeddedStore(join(folder, "store"));
    const bus = createInProcessBus({ clock, log });
    const billing = await startBilling({ bus, store, clock, log });
    const journal = await openJournal({ path: join(folder, "journal"), bus, clock, log });
    const before = cpuMicros();
    const lastingOf = rate; // each session lasts a second
    const append = (event: ChargingEvent) => void journal.append(event);
    const sessions = await paced(rate, (n) => {
      append(sessionStarted(facts(n), Date.now()));
      const old = n - lastingOf;
      if (old < 0) return;
      const at = Date.now();
      append(
        chargeMade(
          facts(old),
          at,
          { id: "1", item: "Riesling", unitPrice: "12.50", quantity: "2", currency: "EUR" },
          "info",
        ),
      );
      append(sessionEnded(facts(old), at - 1000, at, "client"));
    });
    await journal.drained();
    const cpu = cpuMicros() - before - idle;
    const ended = sessions - lastingOf;
    const { published, commits } = journal.stats();
    await billing.stop();
    await journal.close();
    const running = await store.billing.findAccounts({ state: "running", limit: 1_000_000 });
    if (running.length !== lastingOf) throw new Error(`${running.length} sessions run, not ${lastingOf}`);
    await bus.close();
    await store.close();
    return {
      perEvent: cpu / published,
      perSession: (cpu / published) * 3,
      sessions: ended,
      events: published,
      commits,
    };
  });
}

/** Billing alone: the same events, handed over in batches of what 100 ms bring at this rate. */
async function billingAlone(): Promise<Record<string, number>> {
  return inFolder(async (path) => {
    const store = await openEmbeddedStore(path);
    const bus = createInProcessBus({ clock, log });
    const billing = await startBilling({ bus, store, clock, log });
    const batch = Math.ceil(rate / 10);
    const sessions = batch * 50;
    const before = cpuMicros();
    for (let first = 0; first < sessions + batch * 10; first += batch) {
      const events: ChargingEvent[] = [];
      for (let n = first; n < first + batch; n++) {
        if (n < sessions) events.push(sessionStarted(facts(n), Date.now()));
        const old = n - batch * 10;
        if (old < 0) continue;
        events.push(
          chargeMade(
            facts(old),
            Date.now(),
            { id: "1", item: "Riesling", unitPrice: "12.50", quantity: "2", currency: "EUR" },
            "info",
          ),
        );
        events.push(sessionEnded(facts(old), Date.now() - 1000, Date.now(), "client"));
      }
      await bus.publish(events);
    }
    const cpu = cpuMicros() - before;
    await billing.stop();
    await bus.close();
    await store.close();
    return { perSession: cpu / sessions, sessions, batch };
  });
}

async function largeBill(charges: number): Promise<Record<string, number>> {
  return inFolder(async (path) => {
    const store = await openEmbeddedStore(path);
    try {
      const writeMs = await fillMonth(store, charges);
      return { charges, billMs: await timeBill(store, charges), writeMicrosPerCharge: (writeMs * 1000) / charges };
    } finally {
      await store.close();
    }
  });
}

for (let n = 0; n < rate * (seconds + 1); n++) facts(n);
await billingAlone(); // for the compiler to see what is used
const idle = await idleMicros();
const result = {
  rate,
  journal: await journalAlone(idle),
  billing: await billingAlone(),
  wholeWay: await wholeWay(idle),
  largeBill: await largeBill(Number(values.charges)),
};
if (values.json) {
  console.log(JSON.stringify(result));
} else {
  const { journal, billing, wholeWay, largeBill } = result;
  const n = (value: number | undefined) => (value ?? Number.NaN).toFixed(1);
  console.log(`${rate} a second`);
  console.log(
    `journal    ${n(journal.perAppend)} µs an append, on disk after ${n(journal.p50Ms)} ms (p99 ${n(journal.p99Ms)} ms), ${journal.commits} commits for ${journal.appends} appends`,
  );
  console.log(
    `billing    ${n(billing.perSession)} µs a session with start, charge and end, in batches of ${billing.batch} sessions`,
  );
  console.log(
    `whole way  ${n(wholeWay.perEvent)} µs an event, ${n(wholeWay.perSession)} µs a session with start, charge and end`,
  );
  console.log(
    `bill       ${n(largeBill.billMs)} ms for a month with ${largeBill.charges} charges (${n(largeBill.writeMicrosPerCharge)} µs to write each)`,
  );
}
