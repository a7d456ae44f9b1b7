import { Command, CommanderError } from "commander";
import { OperationError } from "../operations/mistake.ts";
import { version } from "../support/version.ts";
import { asCliError } from "./ask.ts";
import { addAuditCommand } from "./audit.ts";
import { addBackupCommands } from "./backup.ts";
import { addBillCommand, addCloseCommand } from "./bill.ts";
import { addCallsCommands } from "./calls.ts";
import { addCheckConfigCommand } from "./check-config.ts";
import { addCorrectCommand } from "./correct.ts";
import { addCreditCommands } from "./credit.ts";
import { addDevCommand } from "./dev.ts";
import { addDoctorCommand } from "./doctor.ts";
import { addDrainCommand } from "./drain.ts";
import { addEventsCommands } from "./events.ts";
import { addExportCommand } from "./export.ts";
import { addInitCommand } from "./init.ts";
import { CliError, EXIT, type Io, processIo, stopAsked } from "./io.ts";
import { addLockoutsCommands } from "./lockouts.ts";
import { addMachinesCommand } from "./machines.ts";
import { addNodesCommand } from "./nodes.ts";
import { addRebillCommand } from "./rebill.ts";
import { addRegistrationsCommands } from "./registrations.ts";
import { addRegistryCommands } from "./registries.ts";
import { addRemoteOptions } from "./remote.ts";
import { addSessionsCommand } from "./sessions.ts";
import { addSettlementCommand } from "./settlement.ts";
import { addStartCommand } from "./start.ts";
import { addTokenCommands } from "./tokens.ts";
import { addTraceCommands } from "./trace.ts";
import { addUsageCommands } from "./usage.ts";
import { addUserCommands } from "./users.ts";
import { addWatchCommand } from "./watch.ts";

interface DemoFlags {
  readonly json?: boolean;
  readonly cluster?: boolean;
  readonly browser?: boolean;
  readonly console?: boolean;
}

/**
 * Runs the `tollgate` command. `argv` is what follows the command's name. Resolves to the exit code: 0 done, 1 it
 * failed, 2 the command line or the configuration is wrong.
 */
export async function run(argv: readonly string[], io: Io = processIo): Promise<number> {
  let code: number = EXIT.ok;
  const program = buildProgram(io, (result) => {
    code = result;
  });
  try {
    await program.parseAsync(argv, { from: "user" });
    return code;
  } catch (thrown) {
    let error = thrown;
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage; // commander has said why
    if (error instanceof OperationError) error = asCliError(error);
    if (error instanceof CliError) {
      io.err(`tollgate: ${error.message}\n`);
      return error.exitCode;
    }
    io.err(`tollgate: ${error instanceof Error ? error.message : String(error)}\n`);
    if (io.env.TOLLGATE_DEBUG && error instanceof Error) io.err(`${error.stack}\n`);
    return EXIT.failure;
  }
}

/** The whole command. `setCode` is called with the exit code where it is not 0. */
export function buildProgram(io: Io, setCode: (code: number) => void): Command {
  const program = new Command("tollgate")
    .description("A SIP session relay that lends its sign-in, session clock and billing to any application server.")
    .version(version(), "-V, --version", "print the version")
    .option(
      "-c, --config <file>",
      "configuration (default: TOLLGATE_CONFIG, else ./tollgate.yaml, else built-in defaults)",
    )
    .helpCommand(false)
    .showSuggestionAfterError(true)
    .showHelpAfterError("(--help says what is possible)")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: (text) => io.out(text), writeErr: (text) => io.err(text) })
    .exitOverride()
    .addHelpText(
      "after",
      `
Examples:
  $ tollgate demo                          see a relay, app servers and a client at work
  $ tollgate dev                           a relay with one user and one service, and a ladder of what passes
  $ tollgate tariff add lesson --currency EUR --price 0.50
  $ tollgate service add english --tariff lesson
  $ tollgate appserver add school --uri sip:127.0.0.1:5070 --service english
  $ tollgate user add alice
  $ tollgate start                         SIP on 127.0.0.1:5060, data in ./data
  $ tollgate bill alice

Exit codes: 0 done, 1 failed, 2 the command line or the configuration is wrong.`,
    );
  addInitCommand(program, io);
  addRemoteOptions(program);
  addStartCommand(program, io, setCode);
  program
    .command("demo")
    .description("run a relay, app servers and a client on this machine, and print SIP ladders and the bill")
    .option("--json", "one JSON document at the end instead of ladders and text")
    .option("--cluster", "the same over NATS JetStream and MongoDB, and a lesson that goes on when its node is killed")
    .option(
      "--browser",
      "leave the relay and its app servers running, with a page at which you open services; with --cluster, Enter kills its node",
    )
    .option("--console", "leave it running at the end, and print the address of the console in the browser")
    .addHelpText(
      "after",
      `
It needs no configuration, uses only this machine, and takes less than 20 seconds.

--cluster uses the servers that NATS_URL and MONGODB_URL name. It removes its stream and its database at the end.
If one of the variables is not set, it starts the nats-server or the mongod that is on the PATH.`,
    )
    .action(async ({ console, ...options }: DemoFlags) => {
      if (options.browser) {
        if (options.json || console)
          throw new CliError("--browser: goes with neither --json nor --console", EXIT.usage);
        return await showCounter(io, options.cluster === true);
      }
      const { demo } = await import("./demo.ts");
      setCode(await demo({ ...options, ...(console && { console: stopAsked(io) }) }));
    });
  addDevCommand(program, io);
  addCheckConfigCommand(program, io);
  addDoctorCommand(program, io, setCode);
  addUserCommands(program, io);
  addRegistryCommands(program, io);
  addSessionsCommand(program, io);
  addCallsCommands(program, io);
  addWatchCommand(program, io);
  addTraceCommands(program, io);
  addRegistrationsCommands(program, io, setCode);
  addLockoutsCommands(program, io);
  addNodesCommand(program, io);
  addDrainCommand(program, io);
  addBillCommand(program, io);
  addCloseCommand(program, io);
  addCreditCommands(program, io);
  addSettlementCommand(program, io);
  addCorrectCommand(program, io);
  addEventsCommands(program, io);
  addUsageCommands(program, io);
  addRebillCommand(program, io, setCode);
  addExportCommand(program, io);
  addTokenCommands(program, io);
  addAuditCommand(program, io);
  addBackupCommands(program, io);
  addMachinesCommand(program, io);
  return program;
}

async function showCounter(io: Io, cluster: boolean): Promise<void> {
  const stopped = stopAsked(io);
  const { openCounter } = await import("./demo/counter.ts");
  const counter = await openCounter(
    (line) => io.out(`${line}\n`),
    process.stdout.isTTY === true,
    cluster ? io.env : undefined,
  );
  io.out(`Open ${counter.url} in a browser on this machine. Ctrl-C ends it.\n`);
  const { killNode } = counter;
  if (killNode) {
    io.out("Enter kills the node by which the page comes; the other one goes on with its sessions.\n");
    io.stdin.once("data", () => {
      io.out("the node is killed\n");
      killNode().catch((error) => io.err(`${error instanceof Error ? error.message : error}\n`));
    });
  }
  await stopped;
  if (killNode) io.stdin.pause();
  io.out(`\n${await counter.close()}\n`);
}
