import type { Command } from "commander";
import { findings } from "../config/problems.ts";
import { importAppServers, importServices, importTariffs } from "../operations/imports.ts";
import { drainAppServer, putOf, removeOf, resumeAppServer } from "../operations/registries.ts";
import { addAppServerKeyCommands } from "./app-server-keys.ts";
import { ask } from "./ask.ts";
import { importedText, sayNotTaken } from "./import-file.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";
import { appServers, type CommandKind, services, tariffs, withoutUndefined } from "./registry-kinds.ts";
import { remotely } from "./remote.ts";

/** `tollgate service|appserver|tariff add|import|list|remove`. */
export function addRegistryCommands(program: Command, io: Io): void {
  addKind(program, io, services);
  const appserver = addKind(program, io, appServers);
  addAppServerKeyCommands(appserver, io);
  addServiceCommands(appserver, io);
  addKind(program, io, tariffs);
}

/** `tollgate appserver drain|resume`. */
function addServiceCommands(appserver: Command, io: Io): void {
  remotely(appserver.command("drain"))
    .description("take an app server out of service: no session begins there, and those that run go on")
    .argument("<id>", "id of the app server")
    .addHelpText("after", "\nIt holds at all nodes, and after a restart, until: tollgate appserver resume ID")
    .action(async (id: string, _options: unknown, command: Command) => {
      await ask(io, command, drainAppServer, { id });
      io.out(`app server ${id} takes no more sessions\n`);
    });
  remotely(appserver.command("resume"))
    .description("put an app server into service again")
    .argument("<id>", "id of the app server")
    .action(async (id: string, _options: unknown, command: Command) => {
      await ask(io, command, resumeAppServer, { id });
      io.out(`app server ${id} is in service\n`);
    });
}

function addKind<T extends { readonly id: string }>(program: Command, io: Io, kind: CommandKind<T>): Command {
  const { command: name, what } = kind;
  const group = program.command(name).description(kind.description);
  const a = /^[aeiou]/.test(what) ? "an" : "a";

  const add = remotely(group.command("add")).description(`register ${a} ${what}, or replace it with --replace`);
  add
    .argument("<id>", `id of the ${what}`)
    .option("--replace", `replace ${a} ${what} that is registered already`)
    .option("--force", "also if it names what is not there yet");
  kind.options(add);
  add.addHelpText("after", `\nExamples:${kind.examples}`);
  add.action(async (id: string, options: Record<string, unknown>, command: Command) => {
    checked(kind, id, options, add);
    const { replace, force, inherit } = options;
    const fields = withoutUndefined(kind.build(id, options));
    const { replaced } = await ask(io, command, putOf(kind), { ...fields, replace, force, inherit });
    io.out(`${what} ${id} ${replaced ? "replaced" : "registered"}\n`);
  });

  addImport(group, io, kind);

  remotely(group.command("list"))
    .description(`list every ${what} of the configuration and the store`)
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const all = await kind.list(io, command);
      if (options.json) io.out(`${JSON.stringify(all, null, 2)}\n`);
      else if (all.length === 0) io.out(`no ${what}s; register one with: tollgate ${name} add ID (see --help)\n`);
      else
        io.out(
          table(
            [...kind.headings, "FROM"],
            all.map((thing) => [...kind.row(thing), thing.from]),
          ),
        );
    });

  remotely(group.command("remove"))
    .description(`remove ${a} ${what}`)
    .argument("<id>", `id of the ${what}`)
    .option("--force", "also if others name it")
    .action(async (id: string, { force }: { force?: boolean }, command: Command) => {
      const { keys = 0 } = await ask(io, command, removeOf(kind), { id, force });
      const gone = keys === 0 ? "" : `, and ${keys === 1 ? "its key" : `its ${keys} keys`}`;
      io.out(`${what} ${id} removed${gone}\n`);
    });
  return group;
}

/** `tollgate service|appserver|tariff import`. */
function addImport<T extends { readonly id: string }>(group: Command, io: Io, kind: CommandKind<T>): void {
  const { what, command: name } = kind;
  remotely(group.command("import"))
    .description(`register every ${what} of a CSV file whose columns are the settings of ${name}s in tollgate.yaml`)
    .argument("<file>", "CSV with a header row; - for standard input")
    .option("--replace", "replace those that are registered already")
    .option("--force", "also those that name what is not there")
    .option("--dry-run", "only say what would be done")
    .addHelpText("after", `\nExamples:\n  $ tollgate ${name} import ${name}s.csv --dry-run`)
    .action(async (file: string, { replace, force, dryRun }: ImportOptions, command: Command) => {
      const input = { csv: await importedText(io, file), replace, force, dryRun };
      const { rows, registered, refused, notTaken } = await ask(io, command, IMPORTS[kind.what], input);
      sayNotTaken(io, notTaken);
      io.out(`${registered} ${dryRun ? "would be registered" : "registered"}\n`);
      if (refused > 0) throw new CliError(`${refused} of ${rows} rows were not taken`);
    });
}

const IMPORTS = { service: importServices, "app server": importAppServers, tariff: importTariffs };

interface ImportOptions {
  readonly replace?: boolean;
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

function checked<T extends { readonly id: string }>(
  kind: CommandKind<T>,
  id: string,
  options: Record<string, unknown>,
  add: Command,
): void {
  const given = withoutUndefined(kind.build(id, options));
  const result = kind.schema.safeParse(given);
  if (result.success) return;
  const problems = findings(result.error, kind.schema, given).map(
    ({ path, message }) => `${optionName(path, add)}: ${message}`,
  );
  throw new CliError(problems.join("\n"), EXIT.usage);
}

/** A field's name as it was typed: `incrementS` is `--increment-s`. A field without an option is an argument. */
function optionName(path: readonly (string | number)[], add: Command): string {
  const joined = path[0] === "limits" ? `limit-${String(path[1])}` : String(path[0]);
  const wanted = joined.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`).replace(/^services$/, "service");
  return add.options.some((option) => option.long === `--${wanted}`) ? `--${wanted}` : wanted;
}
