import { type Command, InvalidArgumentError } from "commander";
import { changesOf } from "../config/changes.ts";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problems.ts";
import type { Config } from "../config/schema.ts";
import type { Api } from "../console/api.ts";
import { type Control, controlPath, startControl } from "../console/control.ts";
import type { HttpServer } from "../console/http.ts";
import type { startBillingNode } from "../node/billing-worker.ts";
import type { Relay, startRelay } from "../node/relay.ts";
import { dataFolder } from "../store/data-folder.ts";
import { systemClock } from "../support/clock.ts";
import { letHelpersStepBack } from "../support/helper-threads.ts";
import type { Logger } from "../support/log.ts";
import { createLogger } from "../support/logger.ts";
import { PeerLog } from "../support/peer-log.ts";
import { type LoadedConfig, readConfig } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";
import type { TestCall, TestCalls } from "./test-calls.ts";

/** `tollgate start`. */
export function addStartCommand(program: Command, io: Io, setCode: (code: number) => void): void {
  program
    .command("start")
    .description("run the relay until SIGTERM or SIGINT (with roles: [billing], a billing worker)")
    .option("--inspect [port]", "show the charts of calls to Stately's inspector, on this port of 127.0.0.1 (8383)")
    .option("--processes <n>", "run so many nodes on this machine, which share its listening addresses", processCount)
    .addHelpText(
      "after",
      `
SIGTERM, SIGINT: takes no new sessions. Running sessions have drainS seconds to end by themselves. A second signal ends
them now. In a cluster other nodes go on with them.
SIGHUP: reads the configuration again. Services, app servers, tariffs, taxes, settlement, rules and domains change. Any
other setting needs a restart: the log says which have changed.

--processes N uses more of the machine's processors. Each process is a node of a cluster, so it needs bus and store. The
first one has the data folder and the address http.listen, each further one data/process-2 and the next port, and so on.
One that dies is started again; signals to the command go to all. N is at most ${MOST_PROCESSES}; 1 is the same as without.

Examples:
  $ tollgate start
  $ tollgate start --processes 4
  $ tollgate start --config /etc/tollgate/tollgate.yaml`,
    )
    .action(async (options: { inspect?: string | true; processes?: number }, command: Command) => {
      const loaded = readConfig(io, command.optsWithGlobals().config);
      const inspectOn = inspectPort(options.inspect);
      const { processes = 1 } = options;
      if (processes > 1) {
        if (inspectOn !== undefined) throw new CliError("--inspect: goes with one process only", EXIT.usage);
        const { runProcesses } = await import("./processes.ts");
        setCode(await runProcesses(loaded, io, processes, (own, ownIo) => start(own, ownIo)));
        return;
      }
      const relays = loaded.config.roles.includes("relay");
      setCode(await (relays ? start(loaded, io, launchRelay, inspectOn) : startBillingOnly(loaded, io)));
    });
}

/** Loaded when it is needed: the other commands start faster without the relay. */
const launchRelay: typeof startRelay = async (options) => (await import("../node/relay.ts")).startRelay(options);

const launchBilling: typeof startBillingNode = async (options) =>
  (await import("../node/billing-worker.ts")).startBillingNode(options);

/**
 * Runs a relay until it is told to stop; resolves to the exit code. `launch` starts it (tests give another one).
 * `inspectOn`: the port for inspectors of charts; undefined: there are none.
 */
export async function start(loaded: LoadedConfig, io: Io, launch = launchRelay, inspectOn?: number): Promise<number> {
  const { config } = loaded;
  const log = createLogger(config.log);
  dataFolder(config.data);
  const stop = stopSignal(io);
  // The socket is taken first, because it keeps two relays from sharing a data folder.
  let relay: Relay | undefined;
  const held = { config };
  let testCalls: TestCalls | undefined;
  const placeTestCall = async (relay: Relay, what: TestCall) => {
    const { TestCalls } = await import("./test-calls.ts");
    testCalls ??= new TestCalls(config, relay, (error) => log.warn({ err: error }, "a test call failed"));
    return testCalls.place(what);
  };
  const drain = (node: string | undefined, withinMs: number | undefined) =>
    node === undefined ? stop.request(withinMs) : relay?.drainNode(node, withinMs);
  const operated = (relay: Relay, config: Config) => ({
    ...{ config, configName: loaded.name, store: relay.store, now: () => Date.now() },
    relay: { ...relay, drain, testCall: (what: TestCall) => placeTestCall(relay, what) },
  });
  const { Api } = await import("../console/api.ts");
  const http = new Api({
    config,
    log,
    context: (caller) => relay && { ...operated(relay, held.config), caller },
    watch: (viewer) => relay?.watch.watch(viewer),
    watchAround: (...asked) => relay?.watch.around(...asked),
  });
  const control = await startControl({ path: controlPath(config.data), listener: http.bySocket });
  const offRejections = io.onUnhandledRejection((error) => (relay ? relay.failed(error) : logRejection(log, error)));
  try {
    relay = await launch({ config, log });
  } catch (error) {
    await control.close();
    stop.off();
    offRejections();
    throw error;
  }
  let api: HttpServer | undefined;
  try {
    api = await startApi(config, relay, log, http);
    if (inspectOn !== undefined) await startInspector(relay, inspectOn, log);
  } catch (error) {
    await relay.close({ drainMs: 0 });
    await control.close();
    stop.off();
    offRejections();
    throw error;
  }
  relay.onDrain((ms) => stop.request(ms));
  relay.onClosing(async () => testCalls?.close());
  const offReload = io.onSignal("SIGHUP", () => void reload(loaded, held, relay!, api, log));
  letHelpersStepBack(); // by now all of them are there
  log.info({ config: loaded.name, data: config.data }, "relay started");
  io.started?.();
  const drainMs = (await stop.requested) ?? config.drainS * 1000;
  log.info({ drainS: drainMs / 1000 }, "draining: no new sessions");
  const drained = relay.close({ drainMs }).then(() => "drained" as const);
  const how = await Promise.race([drained, stop.forced]);
  if (how === "forced") {
    log.warn("second signal: ending the sessions now");
    await relay.close({ drainMs: 0 });
  }
  offReload();
  stop.off();
  offRejections();
  await closeQuietly(control);
  log.info("relay stopped");
  return EXIT.ok;
}

const MOST_PROCESSES = 64;

function processCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= MOST_PROCESSES) return count;
  throw new InvalidArgumentError(`It has to be a number from 1 to ${MOST_PROCESSES}.`);
}

const INSPECT_PORT = 8_383;

function inspectPort(option: string | true | undefined): number | undefined {
  if (option === undefined || option === true) return option && INSPECT_PORT;
  const port = Number(option);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new CliError(`--inspect: expected a port; found ${option}`, EXIT.usage);
}

async function startInspector(relay: Relay, port: number, log: Logger): Promise<void> {
  const { serveInspector } = await import("../console/inspect.ts");
  const server = await serveInspector(relay.inspectors, port);
  relay.onClosing(() => server.close());
  log.warn({ url: `ws://127.0.0.1:${port}` }, "the charts of calls are shown to inspectors on this machine");
}

/** The HTTP API, if the configuration has an address for it, and charges by NATS, if the bus is NATS. */
async function startApi(config: Config, relay: Relay, log: Logger, http: Api): Promise<HttpServer | undefined> {
  const { bus } = config;
  const { listen } = config.http;
  const byNats = bus !== undefined && config.charging.byNats;
  const { createChargeDesk } = await import("../console/api.ts");
  const desk = createChargeDesk(config, relay, new PeerLog({ log, clock: systemClock }));
  http.serve(relay, desk);
  relay.onClosing(async () => http.close());
  const api = listen && (await http.listen(listen));
  if (api) relay.onClosing(() => api.close());
  if (byNats) {
    const { serveChargesOnNats } = await import("../console/charges-nats.ts");
    const responder = await serveChargesOnNats({ settings: bus, desk, clock: systemClock, log });
    relay.onClosing(() => responder.close());
  }
  return api;
}

/** Runs a billing worker until it is told to stop. It takes no SIP and needs no data folder of its own. */
export async function startBillingOnly(loaded: LoadedConfig, io: Io, launch = launchBilling): Promise<number> {
  const { config } = loaded;
  const log = createLogger(config.log);
  const stop = stopSignal(io);
  const offRejections = io.onUnhandledRejection((error) => logRejection(log, error));
  try {
    const node = await launch({ config, log });
    log.info({ config: loaded.name }, "billing worker started");
    await stop.requested;
    await node.close();
    log.info({ ...node.counters }, "billing worker stopped");
    return EXIT.ok;
  } finally {
    stop.off();
    offRejections();
  }
}

/**
 * A fault of which nobody knows the session: everything else goes on (decision 13). If the session is known,
 * src/relay/model/contained.ts ends that one session.
 */
const logRejection = (log: Logger, error: unknown): void =>
  log.error({ err: error }, "a promise was rejected that nobody awaits: a fault of Tollgate's own");

/** `held`: the configuration that was read last. */
async function reload(
  loaded: LoadedConfig,
  held: { config: Config },
  relay: Relay,
  api: HttpServer | undefined,
  log: Logger,
): Promise<void> {
  api?.reloadTls();
  try {
    if (loaded.path === undefined) return await relay.reload();
    const read = loadConfig(loaded.path);
    if (!read.ok) {
      log.error(
        { problems: read.error.map(formatProblem) },
        "the new configuration has mistakes: the former one holds on",
      );
      return;
    }
    const next = loaded.adapt?.(read.value) ?? read.value;
    await relay.reload(next);
    const { taken, waiting } = changesOf(loaded.config, held.config, next);
    held.config = next;
    log.info({ config: loaded.name, changed: taken }, "configuration reloaded");
    if (waiting.length > 0) log.warn({ waiting }, "these settings have changed, and wait for a restart");
  } catch (error) {
    log.error({ err: error }, "reload failed: the former configuration holds on");
  }
}

interface Stop {
  /** Resolves at the first signal, or request: to how long sessions may go on, if somebody has said so. */
  readonly requested: Promise<number | undefined>;
  /** Resolves at the second signal. */
  readonly forced: Promise<"forced">;
  request(withinMs?: number): void;
  off(): void;
}

function stopSignal(io: Io): Stop {
  let first!: (withinMs?: number) => void;
  let second!: (how: "forced") => void;
  const requested = new Promise<number | undefined>((resolve) => {
    first = resolve;
  });
  const forced = new Promise<"forced">((resolve) => {
    second = resolve;
  });
  let signals = 0;
  const signal = (withinMs?: number) => (++signals === 1 ? first(withinMs) : second("forced"));
  const offs = (["SIGTERM", "SIGINT"] as const).map((name) => io.onSignal(name, () => signal()));
  return {
    requested,
    forced,
    request: (withinMs) => {
      if (signals === 0) signal(withinMs);
    },
    off: () => {
      for (const off of offs) off();
    },
  };
}

const closeQuietly = (control: Control): Promise<void> => control.close().catch(() => {});
