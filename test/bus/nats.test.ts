import { randomUUID } from "node:crypto";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, it } from "vitest";
import { openNatsBus } from "../../src/bus/nats.ts";
import { busSchema, type NatsSettings } from "../../src/bus/settings.ts";
import { systemClock } from "../../src/support/clock.ts";
import { silent } from "../charging/samples.ts";
import { busContract } from "../contract/bus.contract.ts";
import { type NatsServer, NO_NATS, natsProgram, startNats } from "../support/nats-server.ts";

let server: NatsServer | undefined;
const url = () => process.env.NATS_URL ?? server!.url;

beforeAll(async () => {
  if (!process.env.NATS_URL && natsProgram) server = await startNats();
});
afterAll(() => server?.destroy());

/** Streams and subjects of its own for each test. */
function ownSettings(): NatsSettings {
  const name = `T${randomUUID().replaceAll("-", "").slice(0, 12)}`;
  return busSchema.parse({ servers: url(), stream: name, prefix: name })!;
}

async function removeStreams(settings: NatsSettings): Promise<void> {
  const nc = await connect({ servers: settings.servers[0]!.replace("nats://", "") });
  const jsm = await jetstreamManager(nc);
  for (const name of [settings.stream, `${settings.stream}_DEAD`]) await jsm.streams.delete(name).catch(() => {});
  await nc.close();
}

if (process.env.NATS_URL || natsProgram) {
  busContract({
    name: "NATS JetStream (P2)",
    create: async () => {
      const settings = ownSettings();
      const bus = await openNatsBus({ settings, clock: systemClock, log: silent, retryLeastMs: 20 });
      return { bus, destroy: () => removeStreams(settings) };
    },
  });
} else {
  describe("the bus port on NATS JetStream (P2)", () => {
    it("does what the contract says", ({ skip }) => skip(true, NO_NATS));
  });
}
