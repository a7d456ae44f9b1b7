import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, isInstalled, type Peer, start } from "./peers.ts";
import { ROOT } from "./project.ts";

/*
 * A real server for tests of the store on MongoDB: the one that MONGODB_URL names, else a mongod on the PATH, else the
 * stand-in of ops/mongo-stand-in, which speaks its protocol.
 */

const LIBRARIES = join(ROOT, ".cache/mongo-stand-in/lib");
const LAUNCHER = join(ROOT, "ops/mongo-stand-in/Launcher.java");

type Kind = "MONGODB_URL" | "mongod" | "stand-in";

/** Which server tests use here; undefined: there is none. */
export function mongoKind(): Kind | undefined {
  if (process.env.MONGODB_URL) return "MONGODB_URL";
  if (isInstalled("mongod")) return "mongod";
  return hasStandIn() ? "stand-in" : undefined;
}

export const hasStandIn = (): boolean => isInstalled("java") && existsSync(LIBRARIES);

export const NO_MONGO =
  "no MongoDB: neither MONGODB_URL nor mongod, and the stand-in needs java and its libraries (Debian: apt-get install default-jre-headless maven; ops/servers.sh fetches them)";
export const NO_STAND_IN =
  "the stand-in for MongoDB is not there (Debian: apt-get install default-jre-headless maven; ops/servers.sh fetches its libraries)";

/** Why a test that kills the server is not run. */
export const NOT_OURS = "the MongoDB of MONGODB_URL is somebody else's: it is not killed";
export const isOurs = (): boolean => mongoKind() !== "MONGODB_URL";

export interface MongoServer {
  readonly kind: Kind;
  /** Undefined: it is not ours. */
  readonly pid: number | undefined;
  /** The URL with a database of that name. */
  url(database: string): string;
  /** SIGKILL. Not with MONGODB_URL. */
  kill(): Promise<void>;
  /** Starts it again on the same port and folder. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts a server, or takes the one of MONGODB_URL. `options`: of the stand-in, which is then taken in any case. */
export async function startMongo(options: readonly string[] = []): Promise<MongoServer> {
  const kind = options.length > 0 ? "stand-in" : mongoKind();
  if (kind === undefined) throw new Error(NO_MONGO);
  if (kind === "MONGODB_URL") return external(process.env.MONGODB_URL!);
  const folder = mkdtempSync(join(tmpdir(), "tollgate-mongo-"));
  const port = await freePort();
  const launch = () => (kind === "mongod" ? launchMongod(folder, port) : launchStandIn(folder, port, options));
  let peer = await launch();
  const kill = async () => {
    peer.child.kill("SIGKILL");
    await peer.exit;
  };
  return {
    kind,
    get pid() {
      return peer.pid;
    },
    url: (database) => `mongodb://127.0.0.1:${port}/${database}`,
    kill,
    async restart() {
      peer = await launch();
    },
    async stop() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function launchMongod(folder: string, port: number): Promise<Peer> {
  const data = join(folder, "data");
  mkdirSync(data, { recursive: true });
  const args = ["--dbpath", data, "--port", String(port), "--bind_ip", "127.0.0.1", "--nounixsocket"];
  const peer = await start("mongod", "mongod", args);
  await peer.says(/Waiting for connections/i, 60_000);
  return peer;
}

async function launchStandIn(folder: string, port: number, options: readonly string[]): Promise<Peer> {
  const args = ["-Xmx768m", "-XX:TieredStopAtLevel=1", "-cp", `${LIBRARIES}/*`, LAUNCHER, folder, String(port)];
  const peer = await start("the stand-in for MongoDB", "java", [...args, ...options]);
  await peer.says(/listening on/, 60_000);
  return peer;
}

function external(text: string): MongoServer {
  const refuse = () => Promise.reject(new Error(NOT_OURS));
  return {
    kind: "MONGODB_URL",
    pid: undefined,
    url: (database) => {
      const [, before, rest = ""] = /^([^/]+:\/\/[^/?]+)(?:\/[^?]*)?(\?.*)?$/.exec(text)!;
      return `${before}/${database}${rest}`;
    },
    kill: refuse,
    restart: refuse,
    stop: async () => {},
  };
}
