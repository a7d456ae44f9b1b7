import { type ChildProcess, spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";

/*
 * Other programs as peers: found, started, waited for, stopped, and what they said kept for the message of a failed
 * test. Nothing here knows vitest: the benchmark uses it too.
 */

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Text for its standard input; without it that is closed at once. */
  readonly input?: string;
  /** Leaves its standard input open, for what is written to `child.stdin` later. */
  readonly keepInput?: boolean;
  /** Opens a channel for `process.send` and "message". */
  readonly channel?: boolean;
}

/** A program that runs, or ran. */
export interface Peer {
  readonly name: string;
  readonly pid: number;
  readonly child: ChildProcess;
  readonly exit: Promise<Exit>;
  /** Undefined while it runs. */
  readonly exited: Exit | undefined;
  /** The last 200 kB of both its outputs, in the order in which they came. */
  output(): string;
  /** Resolves when the output matches; rejects with the output when the program ends before, or after `timeoutMs`. */
  says(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** Sends SIGTERM, and SIGKILL after `graceMs`; resolves when it ended. */
  stop(graceMs?: number): Promise<Exit>;
}

const OUTPUT_KEPT = 200_000;
const running = new Set<Peer>();
// Whatever ends this process, nothing that it started stays behind.
process.once("exit", () => {
  for (const peer of running) peer.child.kill("SIGKILL");
});

/** Starts a program. Throws where it cannot be started. */
export async function start(
  name: string,
  command: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<Peer> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ["pipe", "pipe", "pipe", ...(options.channel ? ["ipc" as const] : [])],
  });
  let said = "";
  const listeners = new Set<() => void>();
  const hear = (chunk: string) => {
    said = (said + chunk).slice(-OUTPUT_KEPT);
    for (const listener of [...listeners]) listener();
  };
  let exited: Exit | undefined;
  const exit = new Promise<Exit>((resolve) => {
    child.once("close", (code, signal) => {
      exited = { code, signal };
      running.delete(peer);
      resolve(exited);
      for (const listener of [...listeners]) listener();
    });
  });
  const peer: Peer = {
    name,
    child,
    exit,
    get pid() {
      return child.pid!;
    },
    get exited() {
      return exited;
    },
    output: () => said,
    says: (pattern, timeoutMs = 10_000) =>
      new Promise((resolve, reject) => {
        const finish = (settle: () => void) => {
          clearTimeout(timer);
          listeners.delete(look);
          settle();
        };
        const fail = (why: string) =>
          finish(() => reject(new Error(`${name} ${why} before it said ${pattern}:\n${said}`)));
        const timer = setTimeout(() => fail(`took ${timeoutMs} ms`), timeoutMs);
        const look = () => {
          const match = pattern.exec(said);
          if (match) finish(() => resolve(match));
          else if (exited) fail(`ended with ${exited.signal ?? exited.code}`);
        };
        listeners.add(look);
        look();
      }),
    async stop(graceMs = 5_000) {
      if (exited) return exited;
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      const ended = await exit;
      clearTimeout(timer);
      return ended;
    },
  };
  child.stdout!.setEncoding("utf8").on("data", hear);
  child.stderr!.setEncoding("utf8").on("data", hear);
  child.stdin!.on("error", () => {}); // It may end without reading its input.
  if (options.keepInput) child.stdin!.write(options.input ?? "");
  else child.stdin!.end(options.input ?? "");
  running.add(peer);
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (error) => {
      running.delete(peer);
      reject(error);
    });
  });
  return peer;
}

/** Runs a program to its end; rejects with what it said when that is not exit code 0. */
export async function run(
  name: string,
  command: string,
  args: readonly string[],
  options: StartOptions = {},
): Promise<string> {
  const peer = await start(name, command, args, options);
  const { code, signal } = await peer.exit;
  if (code !== 0) throw new Error(`${name} ended with ${signal ?? code}:\n${peer.output()}`);
  return peer.output();
}

/** Stops whatever `start` started and still runs. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map((peer) => peer.stop()));
}

/**
 * True where a program of that name is on the PATH; of Kamailio's modules that are packages of their own,
 * `kamailio:secsipid`.
 */
export function isInstalled(name: string): boolean {
  const [program = "", module] = name.split(":");
  if (module !== undefined && !hasKamailioModule(module)) return false;
  // Debian keeps servers in sbin, which is not on everybody's PATH.
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function hasKamailioModule(module: string): boolean {
  const libraries = existsSync("/usr/lib") ? readdirSync("/usr/lib") : [];
  return ["", "..", ...libraries].some((folder) =>
    existsSync(join("/usr/lib", folder, "kamailio/modules", `${module}.so`)),
  );
}

/**
 * A port of 127.0.0.1 that nobody uses, neither UDP nor TCP. It lies below the range from which systems pick ports for
 * outgoing connections, so that none of those takes it before the program that it is for.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (!given.has(port) && (await canBindUdp(port)) && (await canBindTcp(port))) {
      given.add(port);
      return port;
    }
  }
  throw new Error("no free port found in 200 tries");
}

const given = new Set<number>();

const canBindUdp = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = createSocket("udp4");
    socket.once("error", () => socket.close(() => resolve(false)));
    socket.bind(port, "127.0.0.1", () => socket.close(() => resolve(true)));
  });

const canBindTcp = (port: number) =>
  new Promise<boolean>((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

/**
 * Resolves when a program listens on that port of 127.0.0.1. Looks at the system's table (Linux): a probe would be a
 * message that SIPp counts as unexpected.
 */
export async function listens(peer: Peer, transport: "udp" | "tcp", port: number, timeoutMs = 10_000): Promise<void> {
  const address = `:${port.toString(16).toUpperCase().padStart(4, "0")} 00000000:0000 ${transport === "tcp" ? "0A" : "07"}`;
  const deadline = Date.now() + timeoutMs;
  while (!readFileSync(`/proc/net/${transport}`, "utf8").includes(address)) {
    if (peer.exited || Date.now() > deadline) {
      throw new Error(`${peer.name} does not listen on ${transport} port ${port}:\n${peer.output()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
