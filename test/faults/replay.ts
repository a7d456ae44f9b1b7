import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { pino } from "pino";
import { fromCloudEvent } from "../../src/bus/cloud-events.ts";
import { createInProcessBus } from "../../src/bus/in-process.ts";
import { startBilling } from "../../src/charging/billing/billing.ts";
import type { Entry } from "../../src/charging/billing/store.ts";
import type { ChargingEvent } from "../../src/charging/events/events.ts";
import { openMongoStore } from "../../src/store/mongo.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { type Cluster, startCluster } from "./cluster.ts";
import { LoadClient, type LoadOptions, LoadServer } from "./load.ts";
import type { Report } from "./scenarios.ts";

/*
 * The events of a load, read from the stream and billed once more into an empty database: twice, and backwards. The
 * bill has to be the same.
 */

const ORDERS: readonly { readonly name: string; order(events: readonly ChargingEvent[]): ChargingEvent[] }[] = [
  { name: "every event delivered twice", order: (events) => events.flatMap((event) => [event, event]) },
  { name: "every event delivered backwards", order: (events) => events.toReversed() },
];

export const replays = ORDERS.map(({ name, order }) => ({
  name,
  run: async (load: LoadOptions): Promise<Report> => {
    const server = await LoadServer.open();
    server.chargesPerCall = load.chargesPerCall;
    const cluster = await startCluster({ appServerPort: server.port });
    const client = await LoadClient.open(cluster.sip);
    try {
      await client.make(load);
      await cluster.drained(300_000);
      const events = await published(cluster.nats.url);
      const bill = await billed(cluster, order(events));
      return compare(name, load, client, server, await cluster.entries(), bill);
    } finally {
      client.close();
      server.close();
      await cluster.destroy();
    }
  },
}));

/** Everything that is on the stream. */
async function published(url: string): Promise<ChargingEvent[]> {
  const connection = await connect({ servers: [url] });
  try {
    const manager = await jetstreamManager(connection);
    const { state } = await manager.streams.info("TOLLGATE");
    const name = "reader";
    await manager.consumers.add("TOLLGATE", {
      durable_name: name,
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.All,
    });
    const consumer = await jetstream(connection).consumers.get("TOLLGATE", name);
    const events: ChargingEvent[] = [];
    for (let read = 0; read < state.messages; ) {
      for await (const message of await consumer.fetch({ max_messages: 1_000, expires: 2_000 })) {
        read++;
        const event = fromCloudEvent(message.string());
        if (event.ok) events.push(event.value);
      }
    }
    return events;
  } finally {
    await connection.close();
  }
}

/** Bills them into a database of their own. */
async function billed({ mongo }: Cluster, events: readonly ChargingEvent[]): Promise<Map<string, string>> {
  const log = pino({ level: "silent" });
  const settings = { url: mongo.url(`replay_${systemRandom.token(32)}`), timeoutS: 5 };
  const store = await openMongoStore(settings, { clock: systemClock, random: Math.random });
  const bus = createInProcessBus({ clock: systemClock, log });
  const billing = await startBilling({ bus, store, clock: systemClock, log });
  for (let i = 0; i < events.length; i += 500) await bus.publish(events.slice(i, i + 500));
  await billing.stop();
  const entries = new Map<string, string>();
  for (const session of new Set(events.map(({ session }) => session.id)))
    for (const entry of await store.billing.entriesOf(session)) entries.set(entry.id, JSON.stringify(entry));
  await bus.close();
  await store.close();
  return entries;
}

function compare(
  fault: string,
  load: LoadOptions,
  client: LoadClient,
  server: LoadServer,
  first: readonly Entry[],
  again: ReadonlyMap<string, string>,
): Report {
  const faults: string[] = [];
  if (again.size !== first.length) faults.push(`${first.length} lines at first, ${again.size} now`);
  for (const entry of first) {
    const now = again.get(entry.id);
    if (now === undefined) faults.push(`${entry.id} is missing`);
    else if (now !== JSON.stringify(entry)) faults.push(`${entry.id} is another: ${now}`);
  }
  const count = (kind: Entry["kind"]) => [...again.values()].filter((text) => text.includes(`"kind":"${kind}"`)).length;
  const answered = server.asked.filter(({ state }) => state === "answered").length;
  if (answered !== count("item")) faults.push(`${answered} charges answered, ${count("item")} billed`);
  return {
    fault,
    calls: load.rate * load.seconds,
    established: client.established,
    billedSessions: count("time"),
    answered,
    billed: count("item"),
    answeredSum: "",
    billedSum: "",
    refused: 0,
    faults,
  };
}
