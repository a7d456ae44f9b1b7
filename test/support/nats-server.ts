import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./peers.ts";

/** A real nats-server for tests, on a port of its own with JetStream in a temporary folder. */
export interface NatsServer {
  /** Undefined: it does not run. */
  readonly pid: number | undefined;
  readonly url: string;
  readonly port: number;
  /** Kills it as `kill -9` does. */
  kill(): Promise<void>;
  /** Starts it again on the same port and folder. */
  start(): Promise<void>;
  /** Kills it and removes its folder. */
  destroy(): Promise<void>;
}

/** The program: on the PATH, else where ops/servers.sh puts it. */
export const natsProgram: string | undefined = (() => {
  const cached = join(import.meta.dirname, "../../.cache/bin/nats-server");
  if (existsSync(cached)) return cached;
  for (const folder of [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"]) {
    const program = join(folder, "nats-server");
    if (existsSync(program)) return program;
  }
  return undefined;
})();

export const NO_NATS =
  "nats-server is not installed (Debian: apt-get install nats-server, or go install github.com/nats-io/nats-server/v2@v2.12.1)";

const started = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of started) child.kill("SIGKILL");
});

/** Starts one. `config` is further lines of its configuration; `jetStream: false` leaves JetStream off. */
export async function startNats(
  options: { readonly config?: string; readonly jetStream?: boolean; readonly port?: number } = {},
): Promise<NatsServer> {
  const folder = mkdtempSync(join(tmpdir(), "tg-nats-"));
  const port = options.port ?? (await freePort());
  const file = join(folder, "nats.conf");
  const jetStream = options.jetStream === false ? "" : `jetstream { store_dir: "${join(folder, "js")}" }\n`;
  writeFileSync(file, `host: "127.0.0.1"\nport: ${port}\n${jetStream}${options.config ?? ""}\n`);
  let child: ChildProcess | undefined;
  let output = "";
  const kill = async () => {
    if (!child) return;
    const ended = new Promise((resolve) => child!.once("exit", resolve));
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGKILL");
      await ended;
    }
    started.delete(child);
    child = undefined;
  };
  const start = async () => {
    output = "";
    child = spawn(natsProgram ?? "nats-server", ["-c", file], { stdio: ["ignore", "ignore", "pipe"] });
    started.add(child);
    let over = false;
    child.once("exit", () => {
      over = true;
    });
    await new Promise<void>((resolve, reject) => {
      child!.once("error", reject);
      child!.once("exit", () => reject(new Error(`nats-server ended:\n${output}`)));
      child!.stderr!.on("data", (chunk: Buffer) => {
        if (output.length < 100_000) output += chunk.toString();
        if (output.includes("Server is ready")) resolve();
      });
    });
    while (!over && !(await answers(port))) await new Promise(setImmediate);
  };
  await start();
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    get pid() {
      return child?.pid;
    },
    kill,
    start,
    destroy: async () => {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/**
 * Makes a CA and a server's certificate of `address` in `folder`: ca.pem, cert.pem, key.pem. False where there is no
 * openssl.
 */
export function makeCertificates(folder: string, address = "127.0.0.1"): boolean {
  const run = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  try {
    run("req", "-x509", ...key, "-days", "2", "-subj", "/CN=Test CA", "-keyout", "ca-key.pem", "-out", "ca.pem");
    run("req", ...key, "-subj", `/CN=${address}`, "-keyout", "key.pem", "-out", "request.pem");
    writeFileSync(join(folder, "names"), `subjectAltName=IP:${address}\n`);
    run(
      "x509",
      "-req",
      "-in",
      "request.pem",
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca-key.pem",
      "-CAcreateserial",
      "-days",
      "2",
      "-extfile",
      "names",
      "-out",
      "cert.pem",
    );
    return true;
  } catch {
    return false;
  }
}
