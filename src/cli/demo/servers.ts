import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { cleanedUp } from "./cleanup.ts";

/** A server that the demo uses. */
export interface DemoServer {
  /** For people: what it is and where; no password. */
  readonly name: string;
  readonly url: string;
  /** Ends it, if the demo started it, and removes its data. */
  stop(): void;
}

const READY_WITHIN_MS = 30_000;
/** The last output of a program, for the message if it does not start. */
const MAX_OUTPUT = 4_000;

/** The NATS server of NATS_URL; else a nats-server of this machine, started with a folder of its own. */
export async function natsServer(env: NodeJS.ProcessEnv): Promise<DemoServer> {
  const given = env.NATS_URL;
  if (given) return external("NATS", /:\/\//.test(given) ? given : `nats://${given}`);
  const program = found("nats-server", env, join(packageRoot(), ".cache/bin"));
  if (!program)
    throw new Error(
      "--cluster needs NATS: set NATS_URL, or install nats-server 2.9 or later (Debian: apt-get install nats-server)",
    );
  const folder = mkdtempSync(join(tmpdir(), "tollgate-demo-nats-"));
  const port = await freePort();
  const file = join(folder, "nats.conf");
  writeFileSync(file, `host: "127.0.0.1"\nport: ${port}\njetstream { store_dir: "${join(folder, "jetstream")}" }\n`);
  const stop = await started(program, ["-c", file], /Server is ready/, folder);
  return { name: `NATS: ${program}, 127.0.0.1:${port}`, url: `nats://127.0.0.1:${port}`, stop };
}

/**
 * The server of MONGODB_URL; else a mongod of this machine; else, in a clone of the repository, the stand-in of
 * ops/mongo-stand-in.
 */
export async function mongoServer(env: NodeJS.ProcessEnv): Promise<DemoServer> {
  if (env.MONGODB_URL) return external("MongoDB", env.MONGODB_URL);
  const root = packageRoot();
  const launcher = join(root, "ops/mongo-stand-in/Launcher.java");
  const libraries = join(root, ".cache/mongo-stand-in/lib");
  const mongod = found("mongod", env);
  const java = existsSync(launcher) && existsSync(libraries) ? found("java", env) : undefined;
  if (!mongod && !java)
    throw new Error(
      "--cluster needs MongoDB: set MONGODB_URL, or put mongod on the PATH (in a clone, npm run demo -- --cluster fetches a stand-in with Java and Maven)",
    );
  const folder = mkdtempSync(join(tmpdir(), "tollgate-demo-mongo-"));
  const port = await freePort();
  const url = `mongodb://127.0.0.1:${port}`;
  if (mongod) {
    mkdirSync(join(folder, "data"));
    const args = ["--dbpath", join(folder, "data"), "--port", String(port), "--bind_ip", "127.0.0.1", "--nounixsocket"];
    const stop = await started(mongod, args, /Waiting for connections/i, folder);
    return { name: `MongoDB: ${mongod}, 127.0.0.1:${port}`, url, stop };
  }
  const args = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", `${libraries}/*`, launcher, folder, String(port)];
  const stop = await started(java!, args, /listening on/, folder);
  return {
    name: `MongoDB: the stand-in of ops/mongo-stand-in, which speaks its protocol, 127.0.0.1:${port}`,
    url,
    stop,
  };
}

function external(what: string, url: string): DemoServer {
  return { name: `${what}: ${url.replace(/\/\/[^@/]*@/, "//")}`, url, stop: () => {} };
}

/** The package's own folder, built or not. */
export function packageRoot(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "package.json")) || dirname(folder) === folder) return folder;
  }
}

function found(program: string, env: NodeJS.ProcessEnv, ...more: string[]): string | undefined {
  const folders = [...more, ...(env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

/**
 * Starts a program and waits until it says that it is ready. Returns how to end it. It ends with this process in any
 * case.
 */
async function started(program: string, args: readonly string[], ready: RegExp, folder: string): Promise<() => void> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
  const stop = cleanedUp(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  try {
    await saysReady(child, program, ready);
  } catch (error) {
    stop();
    throw error;
  }
  return stop;
}

function saysReady(child: ChildProcess, program: string, ready: RegExp): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = "";
    const fail = (why: string) => reject(new Error(`${program} ${why}${output === "" ? "" : `:\n${output.trim()}`}`));
    const timer = setTimeout(() => fail(`is not ready after ${READY_WITHIN_MS / 1000} s`), READY_WITHIN_MS);
    const read = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-MAX_OUTPUT);
      if (!ready.test(output)) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout?.on("data", read);
    child.stderr?.on("data", read);
    child.once("error", (error) => fail(`cannot be started: ${error.message}`));
    child.once("exit", () => {
      clearTimeout(timer);
      fail("ended");
    });
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
