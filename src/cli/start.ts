import type { Command } from "commander";
import type { CallQuery } from "../calls/find.ts";
import { changesOf } from "../config/changes.ts";
import { loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problems.ts";
import { type Config, MAX_DRAIN_S } from "../config/schema.ts";
import type { Api } from "../console/api.ts";
import { type Control, controlPath, startControl } from "../console/control.ts";
import type { HttpServer } from "../console/http.ts";
import type { WhichLockOuts } from "../directory/guesses.ts";
import type { startBillingNode } from "../node/billing-worker.ts";
import type { Relay, startRelay } from "../node/relay.ts";
import { dataFolder } from "../store/data-folder.ts";
import { systemClock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { createLogger } from "../support/logger.ts";
import { PeerLog } from "../support/peer-log.ts";
import { type LoadedConfig, readConfig } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";

/** `tollgate start`. */
export function addStartCommand(program: Command, io: Io, setCode: (code: number) => void): void {
  program
    .command("start")
    .description("run the relay until SIGTERM or SIGINT (with roles: [billing], a billing worker)")
    .option("--inspect [port]", "show the charts of calls to Stately's inspector, on this port of 127.0.0.1 (8383)")
    .addHelpText(
      "after",
      `
SIGTERM, SIGINT: takes no new sessions. Running sessions have drainS seconds to end by themselves. A second signal ends
them now.
SIGHUP: reads the configuration again. Services, app servers, tariffs, taxes, settlement, rules and domains change. Any
other setting needs a restart: the log says which have changed.

Examples:
  $ tollgate start
  $ tollgate start --config /etc/tollgate/tollgate.yaml`,
    )
    .action(async (options: { inspect?: string | true }, command: Command) => {
      const loaded = readConfig(io, command.optsWithGlobals().config);
      const inspectOn = inspectPort(options.inspect);
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
  const { Api } = await import("../console/api.ts");
  const { traceHandlers } = await import("../console/trace-handlers.ts");
  const http = new Api({
    config,
    log,
    owner: {
      "GET /sessions": () => relay?.sessions() ?? [],
      ...traceHandlers(() => relay),
      "POST /calls": (body) => relay?.calls(whichCalls(body)) ?? [],
      "GET /nodes": () => relay?.nodes() ?? [],
      "GET /usage": () => relay?.usage() ?? [],
      "GET /lockouts": () => relay?.lockOuts() ?? [],
      "POST /lockouts/lift": (body) => ({ lifted: relay?.liftLockOuts(whichLockOuts(body)) ?? 0 }),
      "POST /registrations": (body) => relay?.registrations(userIn(body)) ?? [],
      "POST /registrations/remove": (body) => ({ removed: relay?.unregister(userIn(body) ?? "") ?? 0 }),
      "POST /drain": (body) => {
        const { node } = fieldsOf(body);
        if (node === undefined || isSelf(relay, node)) stop.request(withinMs(body));
        else if (typeof node === "string") relay?.drainNode(node, withinMs(body));
        else throw new Error("node: expected a node's name");
        return { draining: true };
      },
    },
    watch: (viewer) => relay?.watch.watch(viewer),
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
  const held = { config };
  const offReload = io.onSignal("SIGHUP", () => void reload(loaded, held, relay!, api, log));
  log.info({ config: loaded.name, data: config.data }, "relay started");
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

function userIn(body: unknown): string | undefined {
  const { user } = fieldsOf(body);
  if (user !== undefined && typeof user !== "string") throw new Error("user: expected a user's id");
  return user;
}

/** The fields of what a command says; none, if it is no object. */
const fieldsOf = (body: unknown): Record<string, unknown> =>
  (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;

const isSelf = (relay: Relay | undefined, name: unknown): boolean =>
  relay?.nodes().some(({ node, self }) => self && node === name) ?? false;

/** How long a command gives the sessions that run; undefined: as long as the configuration. Throws if it is no time. */
function withinMs(body: unknown): number | undefined {
  const { withinS } = fieldsOf(body);
  if (withinS === undefined) return undefined;
  if (typeof withinS === "number" && withinS >= 0 && withinS <= MAX_DRAIN_S) return withinS * 1000;
  throw new Error(`withinS: expected seconds from 0 to ${MAX_DRAIN_S}`);
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

/** Which records a command asks for. Throws if it says something else. */
function whichCalls(body: unknown): CallQuery {
  const { callId, user, any, failed, since, strangers, most } = fieldsOf(body);
  const texts = { callId, user, any };
  for (const [name, text] of Object.entries(texts))
    if (text !== undefined && typeof text !== "string") throw new Error(`${name}: expected text`);
  if (typeof most !== "number" || !(most >= 1)) throw new Error("most: expected a number");
  return {
    most,
    ...(Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== undefined)) as Partial<CallQuery>),
    ...(failed === true && { failed }),
    ...(typeof since === "number" && { since }),
    ...(typeof strangers === "boolean" && { strangers }),
  };
}

/** Which lock-outs a command asks to lift. Fields of another type are ignored. */
function whichLockOuts(body: unknown): WhichLockOuts {
  const { user, source } = fieldsOf(body);
  return { ...(typeof user === "string" && { user }), ...(typeof source === "string" && { source }) };
}

/** The HTTP API, if the configuration has an address for it, and charges by NATS, if the bus is NATS. */
async function startApi(config: Config, relay: Relay, log: Logger, http: Api): Promise<HttpServer | undefined> {
  const { bus } = config;
  const { listen } = config.http;
  const byNats = bus !== undefined && config.charging.byNats;
  const { createChargeDesk } = await import("../console/api.ts");
  const desk = createChargeDesk(config, relay, new PeerLog({ log, clock: systemClock }));
  http.serve(relay, desk);
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
  try {
    api?.reloadTls();
  } catch (error) {
    log.error({ err: error }, "the new certificate cannot be used: the former one holds on");
  }
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
    await relay.reload(read.value);
    const { taken, waiting } = changesOf(loaded.config, held.config, read.value);
    held.config = read.value;
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
