import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Bill } from "../../src/charging/bills/bill.ts";
import { freePort, type Peer, run, start } from "./peers.ts";
import { COMMAND, expectBuilt, nodeFlags } from "./project.ts";
import { PORTAL } from "./sipp.ts";

/** One app server that the relay is to know. */
export interface OfferedBy {
  readonly id: string;
  readonly port: number;
  readonly services: readonly string[];
  readonly transport?: "udp" | "tcp";
  readonly priority?: number;
  /** To which others it may send its clients on by REFER. */
  readonly mayReferTo?: readonly string[];
}

export interface RelayOptions {
  readonly appServers: readonly OfferedBy[];
  /** Further sections of the configuration, which replace those that stand here. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Arguments to node, before the command. */
  readonly nodeArguments?: readonly string[];
  /** Opens a channel for `process.send` and "message". */
  readonly channel?: boolean;
}

export interface RelayProcess {
  /** Another one after `again`. */
  readonly peer: Peer;
  /** UDP and TCP, on 127.0.0.1. */
  readonly port: number;
  /** Temporary; `remove` removes it. */
  readonly folder: string;
  /** Runs the command with this relay's configuration; resolves to what it printed. */
  command(args: readonly string[], input?: string): Promise<string>;
  /** Ends it by SIGKILL, and starts it again `afterMs` later on the same data. Resolves when it takes calls. */
  again(afterMs: number): Promise<void>;
  /**
   * `tollgate bill USER --json`, once the relay was stopped by SIGTERM. Rejects when it does not end with exit code 0.
   */
  billAfterStop(user: string): Promise<Bill>;
  remove(): Promise<void>;
}

/**
 * The relay as a process of its own from dist, with user alice, password "secret", registered. Resolves when it takes
 * calls.
 */
export async function startRelayProcess(options: RelayOptions): Promise<RelayProcess> {
  expectBuilt();
  const folder = mkdtempSync(join(tmpdir(), "tollgate-peers-"));
  const port = await freePort();
  const file = join(folder, "tollgate.yaml");
  writeFileSync(file, JSON.stringify(configuration(port, options), null, 2)); // JSON is YAML
  const command = (args: readonly string[], input?: string) => runCommand(file, args, input);
  // Anything but services and tariffs may have a say in where and how users are kept.
  const usual = Object.keys(options.config ?? {}).every((name) => ["services", "tariffs", "rules"].includes(name));
  if (usual) {
    mkdirSync(dirname(join(folder, STORE)), { recursive: true });
    writeFileSync(join(folder, STORE), await withAlice());
  } else await registerAlice(file);
  const node = [...nodeFlags(), ...(options.nodeArguments ?? []), COMMAND, "start", "--config", file];
  const begin = async () => {
    const begun = await start("relay", process.execPath, node, { channel: options.channel ?? false });
    await begun.says(/relay started/, 30_000);
    return begun;
  };
  let peer = await begin();
  return {
    get peer() {
      return peer;
    },
    async again(afterMs) {
      peer.child.kill("SIGKILL");
      await peer.exit;
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      peer = await begin();
    },
    port,
    folder,
    command,
    async billAfterStop(user) {
      const { code, signal } = await peer.stop();
      if (code !== 0) throw new Error(`the relay ended with ${signal ?? code}:\n${peer.output()}`);
      return JSON.parse(await command(["bill", user, "--json"])) as Bill;
    },
    async remove() {
      await peer.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const runCommand = (file: string, args: readonly string[], input?: string): Promise<string> =>
  run(
    `tollgate ${args[0]}`,
    process.execPath,
    [COMMAND, ...args, "--config", file],
    input === undefined ? {} : { input },
  );

/** Several relays may share a store. */
const registerAlice = (file: string) =>
  runCommand(file, ["user", "add", "alice", "--password-stdin", "--replace"], "secret\n");

let prepared: Promise<Buffer> | undefined;
/** The store of a data folder in which alice is registered, made once: a command takes most of a second. */
function withAlice(): Promise<Buffer> {
  prepared ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), "tollgate-alice-"));
    try {
      const file = join(folder, "tollgate.yaml");
      writeFileSync(file, JSON.stringify(configuration(0, { appServers: [] })));
      await registerAlice(file);
      return readFileSync(join(folder, STORE));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  })();
  return prepared;
}

const STORE = "data/store/data.mdb";

function configuration(port: number, { appServers, config }: RelayOptions): Record<string, unknown> {
  return {
    portal: { domain: PORTAL },
    listen: [`udp:127.0.0.1:${port}`, `tcp:127.0.0.1:${port}`],
    data: "./data",
    services: [...new Set(appServers.flatMap((server) => server.services))].map((id) => ({ id, tariff: "call" })),
    // One price for each call: what is on the bill does not depend on how fast the machine is.
    tariffs: [{ id: "call", currency: "EUR", setupFee: "0.50" }],
    appServers: appServers.map(({ id, port: at, services, transport, priority, mayReferTo }) => ({
      id,
      uri: `sip:127.0.0.1:${at}${transport === "tcp" ? ";transport=tcp" : ""}`,
      services,
      ...(priority === undefined ? {} : { priority }),
      ...(mayReferTo && { mayReferTo }),
    })),
    // SIPp takes an OPTIONS outside its calls for a call that does not begin with INVITE.
    health: { intervalS: 0 },
    session: { probeS: 0 },
    log: { level: "info", pretty: false },
    drainS: 1,
    ...config,
  };
}
