import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Bill, makeBill } from "../../src/charging/bills/bill.ts";
import { monthOf } from "../../src/charging/money/months.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import { freePort, type Peer, run, start } from "../support/peers.ts";
import { COMMAND, expectBuilt } from "../support/project.ts";
import { DOMAIN, PASSWORD, USER } from "./portal.ts";

/**
 * The relay as a process of its own, from dist (which must be built), that can be killed and started again on the same
 * data.
 */
export class RelayChild {
  /** UDP and TCP of 127.0.0.1, the same at each start. */
  readonly port: number;
  readonly folder: string;
  private readonly createdAt = Date.now();
  /** Modules that the relay loads first. */
  imports: readonly string[] = [];
  /** A command that runs the relay elsewhere, such as `ip netns exec NAME`. */
  prefix: readonly string[] = [];
  /** Further arguments of `tollgate start`. */
  startWith: readonly string[] = [];
  private peer: Peer | undefined;

  private constructor(port: number, folder: string) {
    this.port = port;
    this.folder = folder;
  }

  /**
   * With user alice registered, unless its store is another relay's, too; not yet started. `config`: services, app
   * servers and whatever the test is about.
   */
  static async create(
    config: (port: number) => Readonly<Record<string, unknown>>,
    { registers = true } = {},
  ): Promise<RelayChild> {
    expectBuilt();
    const port = await freePort();
    const relay = new RelayChild(port, mkdtempSync(join(tmpdir(), "tollgate-e2e-")));
    const settings = {
      portal: { domain: DOMAIN },
      listen: [`udp:127.0.0.1:${port}`, `tcp:127.0.0.1:${port}`],
      health: { intervalS: 0 },
      session: { probeS: 0 },
      log: { level: "info", pretty: false },
      ...config(port),
    };
    writeFileSync(relay.file, JSON.stringify(settings)); // JSON is YAML
    if (registers) await relay.command(["user", "add", USER, "--password-stdin"], `${PASSWORD}\n`);
    return relay;
  }

  /** Resolves when it takes calls. */
  async start(): Promise<Peer> {
    const imports = this.imports.flatMap((module) => ["--import", module]);
    const whole = [
      ...this.prefix,
      process.execPath,
      ...imports,
      COMMAND,
      "start",
      ...this.startWith,
      "--config",
      this.file,
    ];
    this.peer = await start("relay", whole[0]!, whole.slice(1));
    await this.peer.says(/relay started/);
    return this.peer;
  }

  /** Nothing that it holds in memory survives. */
  async kill(): Promise<void> {
    this.peer?.child.kill("SIGKILL");
    await this.peer?.exit;
  }

  signal(name: NodeJS.Signals): void {
    this.peer!.child.kill(name);
  }

  /** Ends it as an operator does; resolves to how it ended. */
  async end(): Promise<Awaited<Peer["exit"]>> {
    this.peer!.child.kill("SIGTERM");
    return this.peer!.exit;
  }

  /** Runs the command with this relay's configuration; resolves to what it printed. */
  command(args: readonly string[], input?: string): Promise<string> {
    const all = [COMMAND, ...args, "--config", this.file];
    return run(`tollgate ${args[0]}`, process.execPath, all, input === undefined ? {} : { input });
  }

  /** What the relay has said so far. */
  output(): string {
    return this.peer?.output() ?? "";
  }

  /** Resolves when the relay has said so. */
  async says(what: RegExp): Promise<void> {
    await this.peer!.says(what);
  }

  /** Alice's bill of the month of `at`; the relay is to be stopped. */
  async bill(at = this.createdAt): Promise<Bill> {
    const store = await openEmbeddedStore(join(this.folder, "data/store"));
    try {
      return await makeBill(store, USER, monthOf(at), { maxEntries: 1_000_000 });
    } finally {
      await store.close();
    }
  }

  async remove(): Promise<void> {
    await this.peer?.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private get file(): string {
    return join(this.folder, "tollgate.yaml");
  }
}
