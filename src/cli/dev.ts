import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { formatBill } from "../charging/bills/format-bill.ts";
import { monthOf } from "../charging/money/months.ts";
import type { Config } from "../config/schema.ts";
import { withStore } from "./context.ts";
import { LiveLadder } from "./demo/live-ladder.ts";
import { Printer } from "./demo/printer.ts";
import { CliError, EXIT, type Io, stopAsked } from "./io.ts";

interface DevOptions {
  readonly service: string;
  readonly appServer?: string;
  readonly port: string;
  readonly user: string;
  readonly password: string;
}

/** `tollgate dev`. */
export function addDevCommand(program: Command, io: Io): void {
  program
    .command("dev")
    .description("a relay with one user and one service for whoever writes an app server or a client, with a ladder")
    .option("--service <id>", "the service", "wine")
    .option(
      "--app-server <uri>",
      "your app server, such as sip:127.0.0.1:5070;transport=tcp; default: one that says yes",
    )
    .option("--port <port>", "where the relay takes SIP by UDP and TCP, on 127.0.0.1", "5060")
    .option("--user <id>", "the user", "alice")
    .option("--password <text>", "the user's password, for this relay only", "correct horse")
    .addHelpText(
      "after",
      `
It needs no configuration, listens on this machine only, and keeps its data in a folder that is removed at the end.
Ctrl-C ends it, and prints the bill.

Examples:
  $ tollgate dev
  $ tollgate dev --app-server "sip:127.0.0.1:5070;transport=tcp" --service wine`,
    )
    .action(async (options: DevOptions) => {
      const stopped = stopAsked(io);
      const dev = await startDev(options, (line) => io.out(`${line}\n`), process.stdout.isTTY === true);
      await stopped;
      io.out(`\n${await dev.stop()}`);
    });
}

export interface Dev {
  readonly port: number;
  /** Stops everything. Resolves to the user's bill. */
  stop(): Promise<string>;
}

/** By the option from which each part of the configuration was made. */
const mistakeIn = ({ path, message }: { path: readonly PropertyKey[]; message: string }): string =>
  `${path.includes("uri") ? "--app-server" : "--service"}: expected ${message}`;

/** Starts the relay, and an app server where none is named. `write` takes a line of the ladder. */
export async function startDev(options: DevOptions, write: (line: string) => void, fancy: boolean): Promise<Dev> {
  const { service, user, password } = options;
  const port = Number(options.port);
  if (!/^\d+$/.test(options.port) || port > 65_535)
    throw new CliError(`--port: expected a port; found "${options.port}"`, EXIT.usage);
  // Only this command needs all of it.
  const { configSchema } = await import("../config/schema.ts");
  const { userNameSchema } = await import("../config/terms.ts");
  const { startRelay } = await import("../node/relay.ts");
  const { createLogger } = await import("../support/logger.ts");
  const { registerUser } = await import("../directory/users.ts");
  const { serve } = await import("../sdk/index.ts");
  const named = userNameSchema.safeParse(user);
  if (!named.success) throw new CliError(`--user: expected ${named.error.issues[0]?.message}`, EXIT.usage);
  const startedAt = Date.now();
  const data = await mkdtemp(join(tmpdir(), "tollgate-dev-"));
  const own =
    options.appServer === undefined
      ? await serve({
          listen: { host: "127.0.0.1", port: 0 },
          services: { [service]: (request) => request.accept({ url: "http://127.0.0.1:8080/" }) },
        })
      : undefined;
  const uri = options.appServer ?? own!.uri;
  const clean = async () => {
    await own?.close();
    rmSync(data, { recursive: true, force: true });
  };
  try {
    const read = configSchema.safeParse({
      listen: ["udp", "tcp"].map((transport) => ({ transport, address: "127.0.0.1", port })),
      data,
      services: [{ id: service }],
      appServers: [{ id: "app", uri, services: [service] }],
      health: { intervalS: 0 },
      session: { probeS: 0 },
    });
    if (!read.success) throw new CliError([...new Set(read.error.issues.map(mistakeIn))].join("\n"), EXIT.usage);
    const config: Config = read.data;
    await withStore(config, (store) =>
      registerUser(store, { id: user, realm: config.portal.realm, password, md5: true }),
    );
    const printer = new Printer(write, fancy);
    const log = createLogger({ level: "warn", pretty: true, to: { write: (line) => write(line.trimEnd()) } });
    const [, host, at = "5060"] = /^sips?:(?:[^@]*@)?([^:;]+|\[[^\]]*\])(?::(\d+))?/.exec(uri) ?? [];
    const ladder = new LiveLadder(printer, "client", (peer) => peer === `${host}:${at}`);
    const relay = await startRelay({ config, log, tap: (event) => ladder.saw(event) });
    const taken = relay.addresses.find(({ transport }) => transport === "tcp")?.port ?? port;
    write(`relay       sip:127.0.0.1:${taken}, by UDP and TCP; domain localhost`);
    write(`user        ${user}, password "${password}"`);
    write(`service     sip:${service}@localhost`);
    write(`app server  ${uri}${own ? " (says yes to everybody)" : ""}`);
    return {
      port: taken,
      async stop() {
        await relay.close({ drainMs: 0 });
        const { makeBill } = await import("../charging/bills/bill.ts");
        const bill = await withStore(config, (store) => makeBill(store, user, monthOf(startedAt)));
        await clean();
        return formatBill(bill);
      },
    };
  } catch (error) {
    await clean();
    throw error;
  }
}
