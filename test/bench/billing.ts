import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import { type ChargingEvent, chargeMade, sessionEnded, sessionStarted } from "../../src/charging/events/events.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { openMongoStore } from "../../src/store/mongo.ts";
import type { Store } from "../../src/store/types.ts";
import { type MongoServer, mongoKind, NO_MONGO, startMongo } from "../support/mongo-server.ts";
import { COMMAND, nodeFlags } from "../support/project.ts";
import { clock, cpuMicros, FULL, facts, fillMonth, inFolder, log, timeBill } from "./charging-load.ts";

/*
 * A billing worker on the embedded store and on MongoDB: its CPU for a session with two charges, in microseconds, all
 * threads and the kernel's part included (MongoDB's own is another process's); and the bill of a month with very many
 * charges on one account. Run it compiled: `npm run bench:billing`.
 */

const { values } = parseArgs({
  options: {
    sessions: { type: "string", default: "20000" },
    /** Sessions whose events come in one batch: what 100 ms bring at 2,000 a second. */
    batch: { type: "string", default: "200" },
    /** On one account in one month; 0: no bill. */
    charges: { type: "string", default: "1000000" },
    /** embedded, mongodb: only that one. */
    store: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
/** What the stand-in for MongoDB writes in a minute or so: it is no yardstick for mongod. */
const STAND_IN_CHARGES = 20_000;
const STAND_IN_SESSIONS = 3_000;
const allSessions = Number(values.sessions);
const batch = Number(values.batch);
const allCharges = Number(values.charges);

const CHARGE = { item: "Riesling", unitPrice: "12.50", quantity: "2", currency: "EUR" };
/**
 * Batches between a session's start and its charges, and from those to its end: its account is read and written three
 * times.
 */
const LAG = 5;

/** The events of one batch: sessions that start, others that charge, others that end. */
function eventsOf(first: number, count: number): ChargingEvent[] {
  const events: ChargingEvent[] = [];
  const now = Date.now();
  const each = (offset: number, add: (n: number) => void) => {
    for (let n = first - offset; n < first - offset + batch; n++) if (n >= 0 && n < count) add(n);
  };
  each(0, (n) => void events.push(sessionStarted(facts(n), now)));
  each(LAG * batch, (n) => {
    for (const id of ["1", "2"]) events.push(chargeMade(facts(n), now, { id, ...CHARGE }, "info"));
  });
  each(2 * LAG * batch, (n) => void events.push(sessionEnded(facts(n), now - 1000, now, "client")));
  return events;
}

/** Returns microseconds of CPU for a session, and sessions a second as it went. */
async function bill(store: Store, count: number): Promise<{ cpuMicros: number; perSecond: number }> {
  const bus = createInProcessBus({ clock, log });
  const billing = await startBilling({ bus, store, clock, log });
  const started = performance.now();
  const before = cpuMicros();
  for (let first = 0; first < count + 2 * LAG * batch; first += batch) {
    const events = eventsOf(first, count);
    if (events.length > 0) await bus.publish(events);
  }
  const cpu = cpuMicros() - before;
  const seconds = (performance.now() - started) / 1000;
  await billing.stop();
  await bus.close();
  const running = await store.billing.findAccounts({ state: "running", limit: 10 });
  if (running.length > 0) throw new Error("sessions run on");
  return { cpuMicros: cpu / count, perSecond: count / seconds };
}

/** Milliseconds of `tollgate bill`, from the start of its process to its end. */
function timeCommand(folder: string, store: string): number {
  const config = join(folder, "tollgate.yaml");
  writeFileSync(config, `data: ./data\nstore: ${store}\n`);
  const args = [...nodeFlags(), COMMAND, "bill", FULL.user, "--month", FULL.month, "--config", config];
  const before = performance.now();
  execFileSync(process.execPath, args);
  return performance.now() - before;
}

interface Opened {
  readonly name: string;
  /** As the configuration names it. */
  readonly setting: string;
  open(database: string): Promise<Store>;
}

async function measure(folder: string, { name, setting, open }: Opened, slow = false) {
  const sessions = slow ? Math.min(allSessions, STAND_IN_SESSIONS) : allSessions;
  const charges = slow ? Math.min(allCharges, STAND_IN_CHARGES) : allCharges;
  const warm = await open("warm");
  await bill(warm, Math.min(sessions, 4_000)); // for the compiler to see what is used
  await warm.close();
  const store = await open("bench");
  const worker = await bill(store, sessions);
  const writeMs = charges > 0 ? await fillMonth(store, charges) : 0;
  const billMs = charges > 0 ? await timeBill(store, charges) : 0;
  await store.close();
  const commandMs = charges > 0 ? timeCommand(folder, setting) : 0;
  return { store: name, sessions, batch, ...worker, charges, writeMs, billMs, commandMs };
}

for (let n = 0; n < allSessions; n++) facts(n);
const results: Awaited<ReturnType<typeof measure>>[] = [];
if (values.store !== "mongodb")
  await inFolder(async (folder) => {
    const open = (database: string) => openEmbeddedStore(join(folder, database === "warm" ? "warm" : "data/store"));
    results.push(await measure(folder, { name: "embedded", setting: "embedded", open }));
  });
const kind = mongoKind();
if (kind === undefined) console.error(NO_MONGO);
else if (values.store !== "embedded")
  await inFolder(async (folder) => {
    const server: MongoServer = await startMongo();
    try {
      const url = (database: string) => server.url(`tollgate_bench_${process.pid}_${database}`);
      const open = (database: string) => openMongoStore({ url: url(database), timeoutS: 60 });
      results.push(
        await measure(folder, { name: `MongoDB (${kind})`, setting: url("bench"), open }, kind === "stand-in"),
      );
    } finally {
      await server.stop();
    }
  });
if (values.json) console.log(JSON.stringify(results));
else {
  for (const { store, cpuMicros, perSecond, charges, writeMs, billMs, commandMs } of results) {
    console.log(
      `${store}: ${cpuMicros.toFixed(0)} µs of the worker's CPU for a session with two charges, in batches of ${batch} sessions (${perSecond.toFixed(0)} sessions a second here)`,
    );
    if (charges > 0)
      console.log(
        `${store}: bill of a month with ${charges} charges in ${billMs.toFixed(0)} ms, \`tollgate bill\` in ${commandMs.toFixed(0)} ms (written in ${(writeMs / 1000).toFixed(0)} s)`,
      );
  }
}
