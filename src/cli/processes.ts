import cluster, { type Worker } from "node:cluster";
import type { Config } from "../config/schema.ts";
import { processFolder } from "../console/control.ts";
import { type Clock, systemClock, type TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { createLogger } from "../support/logger.ts";
import { howShared } from "../transport/shared-ports.ts";
import type { LoadedConfig } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";

/*
 * `tollgate start --processes N`: nodes of a cluster on one machine that share its listening addresses. This process
 * starts them, and starts those again that die; it takes no SIP itself.
 */

/** Which of the processes a child is. */
const NUMBER = "TOLLGATE_PROCESS";

const FIRST_DELAY_MS = 200;
const MOST_DELAY_MS = 30_000;
/** One that ran for so long before it died is started again as soon as at first. */
const STEADY_MS = 60_000;

/** What the supervisor tells a child: to drain; to end its sessions now. */
type Order = "drain" | "now";
const STARTED = "started";

/**
 * Runs so many relays until they are told to stop; resolves to the exit code. `start` runs one relay in this process:
 * in a child, that is all that happens here.
 */
export async function runProcesses(
  loaded: LoadedConfig,
  io: Io,
  count: number,
  start: (loaded: LoadedConfig, io: Io) => Promise<number>,
): Promise<number> {
  const number = cluster.isWorker ? Number(io.env[NUMBER]) : undefined;
  if (number === undefined) {
    clusterOnly(loaded, count);
    return new Supervisor(loaded, io, count, createLogger(loaded.config.log), systemClock).run();
  }
  const adapt = (config: Config) => ofProcess(config, number);
  try {
    return await start({ ...loaded, config: adapt(loaded.config), adapt }, childIo(io));
  } finally {
    cluster.worker?.disconnect(); // else the channel would keep this process from ending
  }
}

/** Ends the command where these nodes could not find each other, or not all of them would have their addresses. */
function clusterOnly({ config, name }: LoadedConfig, count: number): void {
  const missing = [
    ...(config.roles.includes("relay") ? [] : ["roles: [relay, billing]"]),
    ...(config.bus === undefined ? ["bus: nats://HOST:4222"] : []),
    ...(config.store === undefined ? ["store: mongodb://HOST:27017/tollgate"] : []),
  ];
  if (missing.length > 0)
    throw new CliError(
      `--processes: each process is a node of a cluster; set in ${name}: ${missing.join(" and ")}`,
      EXIT.usage,
    );
  const { listen } = config.http;
  if (listen && listen.port > 0 && listen.port + count - 1 > 65_535)
    throw new CliError(`--processes: http.listen: no ${count} ports from ${listen.port} on`, EXIT.usage);
}

/** The configuration of one of the processes: a data folder and an address for HTTP of its own. */
export function ofProcess(config: Config, number: number): Config {
  const { listen } = config.http;
  const own = listen && { ...listen, port: listen.port === 0 ? 0 : listen.port + number - 1 };
  return {
    ...config,
    data: processFolder(config.data, number),
    http: { ...config.http, ...(own && { listen: own }) },
  };
}

/**
 * A child's surroundings. A terminal sends Ctrl-C to all processes at once, and systemd SIGTERM: so one that comes
 * beside the supervisor's order is no second signal.
 */
function childIo(io: Io): Io {
  return {
    ...io,
    started: () => void process.send?.(STARTED),
    onSignal(signal, fn) {
      if (signal === "SIGINT") return io.onSignal(signal, () => {});
      if (signal === "SIGHUP") return io.onSignal(signal, fn);
      let asked = false;
      const once = () => {
        if (asked) return;
        asked = true;
        fn();
      };
      const ordered = (order: unknown) => {
        if (order !== ("drain" satisfies Order) && order !== ("now" satisfies Order)) return;
        once();
        if (order === "now") fn();
      };
      process.on("message", ordered);
      const off = io.onSignal(signal, once);
      return () => {
        process.off("message", ordered);
        off();
      };
    },
  };
}

/** One of the processes, whether it runs or not. */
interface Child {
  readonly number: number;
  worker: Worker | undefined;
  startedAt: number;
  delayMs: number;
  again: TimerHandle | undefined;
}

class Supervisor {
  private readonly children: readonly Child[];
  private readonly name: string;
  private readonly io: Io;
  private readonly log: Logger;
  private readonly clock: Clock;
  private readonly http: Config["http"]["listen"];
  private signals = 0;
  /** Those that have not run yet. */
  private readonly waiting = new Set<number>();
  /** All have run: one that ends is started again from now on. */
  private isUp = false;
  private code: number = EXIT.ok;
  private ended!: (code: number) => void;

  constructor({ config, name }: LoadedConfig, io: Io, count: number, log: Logger, clock: Clock) {
    this.name = name;
    this.io = io;
    this.log = log;
    this.clock = clock;
    this.http = config.http.listen;
    for (let number = 1; number <= count; number++) this.waiting.add(number);
    this.children = Array.from({ length: count }, (_, i) => ({
      number: i + 1,
      worker: undefined,
      startedAt: 0,
      delayMs: FIRST_DELAY_MS,
      again: undefined,
    }));
  }

  async run(): Promise<number> {
    cluster.setupPrimary({ exec: process.argv[1]!, args: process.argv.slice(2) });
    const ended = new Promise<number>((resolve) => {
      this.ended = resolve;
    });
    const stop = () => this.stop();
    const offs = (["SIGTERM", "SIGINT"] as const).map((name) => this.io.onSignal(name, stop));
    offs.push(this.io.onSignal("SIGHUP", () => this.reload()));
    const { length: processes } = this.children;
    this.log.info({ config: this.name, processes, by: howShared() }, "processes: they share the listening addresses");
    this.launch(this.children[0]!);
    const code = await ended;
    for (const off of offs) off();
    this.log.info({ code }, "processes: all have ended");
    return code;
  }

  private get isStopping(): boolean {
    return this.signals > 0;
  }

  private launch(child: Child): void {
    child.again = undefined;
    const worker = cluster.fork({ [NUMBER]: String(child.number) });
    child.worker = worker;
    child.startedAt = this.clock.monotonic();
    worker.on("message", (message) => message === STARTED && this.started(child));
    worker.on("error", (error) => this.log.warn({ err: error, process: child.number }, "process: cannot be told"));
    // All that it printed has come; and it may have been killed before it could be told anything.
    worker.process.once("exit", (code, signal) => this.exited(child, code, signal));
  }

  private started(child: Child): void {
    const { port, address } = this.http ?? {};
    const http = port === undefined ? undefined : `${address}:${port === 0 ? "any" : port + child.number - 1}`;
    this.log.info({ process: child.number, pid: child.worker?.process.pid, http }, "process started");
    if (this.isUp || this.isStopping) return;
    // The first one has made what all share, such as the store's indexes.
    if (child.number === 1) for (const other of this.children.slice(1)) this.launch(other);
    this.waiting.delete(child.number);
    if (this.waiting.size > 0) return;
    this.isUp = true;
    this.log.info({ processes: this.children.length }, "all processes started");
  }

  private exited(child: Child, code: number | null, signal: string | null): void {
    child.worker = undefined;
    const { number: process } = child;
    if (this.isStopping) {
      if (code !== 0) this.code ||= code ?? EXIT.failure;
      this.log.info({ process, code, signal }, "process ended");
    } else if (code === EXIT.ok) this.log.warn({ process }, "process ended as it was told: SIGHUP starts it again");
    else if (code === EXIT.usage) {
      this.code = code;
      this.log.error({ process }, "process ended by its configuration: it is not started again before SIGHUP");
    } else if (this.isUp) this.later(child, code, signal);
    if (!this.isUp && !this.isStopping) {
      // What keeps one from its first start, such as an address that is taken, is the operator's to mend.
      this.code = code ?? EXIT.failure;
      this.log.error({ process, code, signal }, "process has not started: all end");
      this.stop();
    }
    if (this.children.every(({ worker, again }) => worker === undefined && again === undefined)) this.ended(this.code);
  }

  private later(child: Child, code: number | null, signal: string | null): void {
    if (this.clock.monotonic() - child.startedAt >= STEADY_MS) child.delayMs = FIRST_DELAY_MS;
    const inMs = child.delayMs;
    child.delayMs = Math.min(MOST_DELAY_MS, 2 * inMs);
    child.again = this.clock.setTimeout(() => this.launch(child), inMs);
    this.log.error({ process: child.number, code, signal, inMs }, "process died: it is started again");
  }

  /** The first time: no new sessions, and those that run may end by themselves. The second time: all end now. */
  private stop(): void {
    this.signals++;
    const order: Order = this.signals === 1 ? "drain" : "now";
    this.log.info({ order }, this.signals === 1 ? "processes: draining" : "processes: ending the sessions now");
    let left = 0;
    for (const child of this.children) {
      this.clock.clearTimeout(child.again);
      child.again = undefined;
      if (!child.worker) continue;
      left++;
      if (child.worker.isConnected()) child.worker.send(order);
      else child.worker.process.kill("SIGTERM");
    }
    if (left === 0) this.ended(this.code);
  }

  private reload(): void {
    for (const child of this.children) {
      if (child.worker) child.worker.process.kill("SIGHUP");
      else if (this.isUp && !this.isStopping && child.again === undefined) this.launch(child);
    }
  }
}
