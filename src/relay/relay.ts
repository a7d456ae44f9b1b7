import { join } from "node:path";
import { startBilling } from "../charging/billing.ts";
import { openJournal } from "../charging/journal.ts";
import { createInProcessBus } from "../bus/in-process.ts";
import type { Config } from "../config/schema.ts";
import type { SessionView } from "../console/control.ts";
import { createAuthenticator } from "../directory/authenticator.ts";
import { createDirectory } from "../directory/directory.ts";
import { openEmbeddedStore } from "../store/embedded.ts";
import { type Clock, systemClock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { type Random, systemRandom } from "../support/random.ts";
import { createTransactionLayer } from "../transaction/layer.ts";
import { createTransportLayer, type Tap } from "../transport/layer.ts";
import { createResolver } from "../transport/resolve.ts";
import { type Core, type Counters, noCounts } from "./core.ts";
import { HealthChecks } from "./health.ts";
import { requestLogic } from "./request.ts";
import { Router } from "./router.ts";
import { sessionLogic } from "./session-actions.ts";

export interface Relay {
  /** The addresses that it listens on, with the ports that it got. */
  readonly addresses: readonly { readonly transport: string; readonly address: string; readonly port: number }[];
  readonly counters: Readonly<Counters>;
  sessions(): SessionView[];
  /** Reads the directory again; with a configuration, that one's services, app servers, tariffs, rules and domains hold from now on. */
  reload(config?: Config): Promise<void>;
  /**
   * Takes no new sessions, lets those that run end by themselves for `drainMs`, ends the rest with BYE, and resolves when everything
   * is on record and billed.
   */
  close(options: { drainMs: number }): Promise<void>;
}

/** Starts a relay by its configuration. Rejects when an address is taken or the data folder cannot be used. */
export async function startRelay(options: {
  readonly config: Config;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Sees every message that comes or goes. */
  readonly tap?: Tap;
}): Promise<Relay> {
  const { config, log, clock = systemClock, random = systemRandom } = options;
}
