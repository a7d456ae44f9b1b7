import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../../config/schema.ts";
import { cleanedUp } from "./cleanup.ts";
import { packageRoot } from "./servers.ts";

/** What a node in a process of its own says to the demo. */
export type FromNode =
  | { readonly kind: "started"; readonly port: number; readonly webSocketPort: number | undefined }
  | {
      readonly kind: "passed";
      readonly direction: "in" | "out";
      readonly peer: string;
      readonly label: string;
      readonly at: number;
    };

export type Passed = Extract<FromNode, { kind: "passed" }>;

export interface SecondNode {
  readonly pid: number;
  /** Where it takes SIP. */
  readonly uri: string;
  /** Where a page reaches it; undefined: nowhere. */
  readonly webSocket: string | undefined;
  /** SIGKILL. Resolves when the process is gone. */
  kill(): Promise<void>;
}

/** Starts a node by the same configuration as another one, with data of its own, as a process that can be killed. */
export async function startSecondNode(config: Config, passed: (what: Passed) => void): Promise<SecondNode> {
  const beside = join(import.meta.dirname, "node-process.js");
  const program = existsSync(beside) ? beside : join(packageRoot(), "dist/src/cli/demo/node-process.js");
  const data = mkdtempSync(join(tmpdir(), "tollgate-demo-node-"));
  const child = fork(program, [], {
    serialization: "advanced",
    execArgv: [],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4_000);
  });
  const gone = once(child, "exit");
  const clean = cleanedUp(() => {
    child.kill("SIGKILL");
    rmSync(data, { recursive: true, force: true, maxRetries: 3 });
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await gone;
    clean();
  };
  const { port, webSocketPort } = await new Promise<Extract<FromNode, { kind: "started" }>>((resolve, reject) => {
    child.on("message", (what: FromNode) => (what.kind === "started" ? resolve(what) : passed(what)));
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`the second node has not started: ${said.trim()}`)));
    child.send({ ...config, data });
  }).catch((error) => {
    clean();
    throw error;
  });
  const webSocket = webSocketPort === undefined ? undefined : `ws://127.0.0.1:${webSocketPort}`;
  return { pid: child.pid!, uri: `sip:127.0.0.1:${port};transport=tcp`, webSocket, kill };
}
