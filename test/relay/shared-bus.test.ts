import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, describe, expect, it } from "vitest";
import { openNatsBus } from "../../src/bus/nats.ts";
import { sessionStarted } from "../../src/charging/events/events.ts";
import { openJournal } from "../../src/charging/journal/journal.ts";
import { type Config, configSchema } from "../../src/config/schema.ts";
import { type BillingNode, startBillingNode } from "../../src/node/billing-worker.ts";
import { startRelay } from "../../src/node/relay.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { systemClock } from "../../src/support/clock.ts";
import { aCharge, facts, silent, wholeSession } from "../charging/samples.ts";
import { type NatsServer, NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";
import { freePort } from "../support/peers.ts";
import { until } from "../support/until.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "tg-shared-"));
  cleanups.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const configOf = (data: string, bus: string, roles: string[]): Config =>
  configSchema.parse({ listen: ["udp:127.0.0.1:0"], data, bus, roles, health: { intervalS: 0 } });

function natsTest(title: string, act: (nats: NatsServer) => Promise<void>): void {
  it(title, { timeout: 30_000 }, async ({ skip }) => {
    skip(natsProgram === undefined, NO_NATS);
    const nats = await startNats();
    cleanups.push(() => nats.destroy());
    await act(nats);
  });
}

describe("relays and billing workers on one bus (P2)", () => {
  natsTest("two billing workers share what relays publish and bill each session and charge once", async (nats) => {
    const data = folder();
    const config = configOf(data, nats.url, ["billing"]);
    const workers: BillingNode[] = [];
    // Opened once: LMDB is not made for several openings that write within one process.
    const store = await openEmbeddedStore(join(data, "store"));
    const shared = Object.create(store, { close: { value: async () => {} } }) as typeof store;
    for (let n = 0; n < 2; n++) workers.push(await startBillingNode({ config, log: silent, store: shared }));
    cleanups.push(() => store.close());
    const bus = await openNatsBus({ settings: config.bus!, clock: systemClock, log: silent });
    const journals = [];
    for (let n = 0; n < 2; n++)
      journals.push(await openJournal({ path: join(data, `journal${n}`), bus, clock: systemClock, log: silent }));
    const sessions = 200;
    const appended = [];
    for (let n = 0; n < sessions; n++) {
      const events = wholeSession(facts({ id: `s${n}` }), 60_000, [aCharge(), aCharge({ id: "2" })]);
      for (const event of events.toReversed()) appended.push(journals[n % 2]!.append(event)); // backwards, too
    }
    await Promise.all(appended);
    await Promise.all(journals.map((journal) => journal.drained()));
    await until(async () => workers[0]!.counters.events + workers[1]!.counters.events >= sessions * 4);
    const [total] = await store.billing.totals("alice", "2026-01");
    expect(total).toMatchObject({ sessions, charges: sessions * 2 });
    expect(Number(total?.itemAmount)).toBe(sessions * 2 * 25);
    for (const { counters } of workers) expect(counters.events).toBeGreaterThan(0);
    for (const journal of journals) await journal.close();
    await bus.close();
    for (const worker of workers) await worker.close();
  });

  natsTest(
    "a relay without the role publishes and does not bill; one that starts with NATS away takes sessions",
    async (nats) => {
      const away = configOf(folder(), `nats://127.0.0.1:${await freePort()}`, ["relay"]);
      const alone = await startRelay({ config: away, log: silent });
      expect(alone.addresses).toHaveLength(1);
      await alone.close({ drainMs: 0 });
      const relay = await startRelay({ config: configOf(folder(), nats.url, ["relay"]), log: silent });
      const nc = await connect({ servers: `127.0.0.1:${nats.port}` });
      const jsm = await jetstreamManager(nc);
      expect(await jsm.consumers.list("TOLLGATE").next()).toEqual([]);
      await nc.close();
      await relay.close({ drainMs: 0 });
    },
  );

  natsTest(
    "a relay that was killed ends what it left running by its own journal, and no other relay's sessions",
    async (nats) => {
      const data = folder();
      const config = configOf(data, nats.url, ["relay", "billing"]);
      const bus = await openNatsBus({ settings: config.bus!, clock: systemClock, log: silent });
      const path = join(data, "journal");
      const before = await openJournal({ path, bus, clock: systemClock, log: silent, trackRunning: true });
      await before.append(sessionStarted(facts({ id: "mine" }), Date.now()));
      await bus.publish([sessionStarted(facts({ id: "theirs" }), Date.now())]);
      await before.drained();
      await before.close();
      await bus.close();
      const relay = await startRelay({ config, log: silent });
      await until(async () => (relay.metrics().counters.billingEvents ?? 0) >= 3); // two starts and one end
      await relay.close({ drainMs: 0 });
      const store = await openEmbeddedStore(join(data, "store"));
      cleanups.push(() => store.close());
      const [mine, theirs] = await store.billing.accounts(["mine", "theirs"]);
      expect(mine?.state).not.toBe("running");
      expect(mine?.state).not.toBe("open");
      expect(theirs?.state).toBe("running");
    },
  );
});
