import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { asBusError } from "./nats-errors.ts";
import { connectionOptions } from "./nats-options.ts";
import { checkServer, lookForStream } from "./nats-setup.ts";
import type { NatsSettings } from "./settings.ts";

/** Looks whether NATS can be used, and changes nothing there. Rejects with what is wrong. */
export async function probeNats(settings: NatsSettings, withinMs: number): Promise<void> {
  try {
    const options = { ...connectionOptions(settings, process.env), reconnect: false, waitOnFirstConnect: false };
    const nc = await connect({ ...options, timeout: withinMs });
    try {
      checkServer(nc);
      await lookForStream(await jetstreamManager(nc, { checkAPI: false, timeout: withinMs }), settings);
    } finally {
      await nc.close();
    }
  } catch (error) {
    throw asBusError(error as Error, settings);
  }
}
