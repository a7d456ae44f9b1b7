import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { listens, type Peer, start } from "./peers.ts";
import { ROOT } from "./project.ts";

/* SIPp 3.6 with the scenarios of ops/sipp. */

const SCENARIOS = join(ROOT, "ops/sipp");

export const PORTAL = "portal.example";

export interface SippOptions {
  /** Name of a file of ops/sipp, without `.xml`. */
  readonly scenario: string;
  /** Folder for its traces. */
  readonly folder: string;
  readonly port: number;
  readonly transport?: "udp" | "tcp";
  readonly calls?: number;
  /** Calls begun each second. */
  readonly rate?: number;
  /**
   * Length of the scenario's pause: of the session at the side that hangs up, of the wait for a repeated BYE at the
   * other.
   */
  readonly holdMs?: number;
  /** What `[charges]` stands for in the scenario. */
  readonly charges?: string;
  /** False: no trace of each message, for many calls. */
  readonly trace?: boolean;
  /** After which it gives up and fails. */
  readonly timeoutS?: number;
  readonly more?: readonly string[];
}

export interface SippClientOptions extends SippOptions {
  /** Where it sends everything. */
  readonly remotePort: number;
  readonly service: string;
  readonly user?: string;
  readonly password?: string;
}

/** An app server; resolves when it listens. */
export async function sippServer(options: SippOptions): Promise<Peer> {
  const peer = await startSipp(options, []);
  await listens(peer, options.transport ?? "udp", options.port);
  return peer;
}

/** A client that signs in and calls; resolves when it was started. */
export function sippClient(options: SippClientOptions): Promise<Peer> {
  const { service, user = "alice", password = "secret" } = options;
  return startSipp(options, [
    `127.0.0.1:${options.remotePort}`,
    ...["-s", service, "-key", "user", user, "-au", user, "-ap", password],
  ]);
}

export function startSipp(options: SippOptions, args: readonly string[] = []): Promise<Peer> {
  const { scenario, folder, transport = "udp", calls = 1, holdMs = 0, timeoutS = 30 } = options;
  const file = (kind: string) => join(folder, `${scenario}-${options.port}.${kind}`);
  return start(
    `sipp ${scenario}`,
    "sipp",
    [
      ...args,
      ...["-sf", join(SCENARIOS, `${scenario}.xml`), "-nostdin", "-m", String(calls), "-d", String(holdMs)],
      ...["-i", "127.0.0.1", "-bind_local", "-p", String(options.port), "-t", transport === "tcp" ? "t1" : "u1"],
      ...["-timeout", `${timeoutS}s`, "-timeout_error", "-key", "domain", PORTAL],
      ...["-trace_err", "-error_file", file("errors")],
      ...(options.trace === false ? [] : ["-trace_msg", "-message_file", file("messages")]),
      ...(options.rate === undefined ? [] : ["-r", String(options.rate), "-l", String(calls)]),
      ...(options.charges === undefined ? [] : ["-key", "charges", options.charges]),
      ...(options.more ?? []),
    ],
    { cwd: folder },
  );
}

/** Waits for SIPp to end; rejects with its errors and messages when not every call was as its scenario says. */
export async function sippEnds(peer: Peer, options: SippOptions): Promise<void> {
  const { code, signal } = await peer.exit;
  if (code === 0) return;
  const traces = ["errors", "messages"]
    .map((kind) => join(options.folder, `${options.scenario}-${options.port}.${kind}`))
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file, "utf8").slice(0, 8_000));
  throw new Error(`${peer.name} ended with ${signal ?? code}\n${traces.join("\n")}\n${lastScreen(peer.output())}`);
}

/** SIPp draws its screens one after the other; the last scenario screen says how far it came. */
function lastScreen(output: string): string {
  return output
    .slice(Math.max(0, output.lastIndexOf("Scenario Screen")))
    .replace(/\n{2,}/g, "\n")
    .slice(0, 4_000);
}
