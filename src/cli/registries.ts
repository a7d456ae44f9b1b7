import type { Command } from "commander";
import type { z } from "zod";
import { findings } from "../config/problems.ts";
import type { Config } from "../config/schema.ts";
import { type CurrencyClash, currencyClashes, type Priced } from "../directory/currencies.ts";
import { type AllRegistered, missing, usersOf } from "../directory/references.ts";
import type { AppServer, Service } from "../directory/types.ts";
import type { Store } from "../store/types.ts";
import { addAppServerKeyCommands } from "./app-server-keys.ts";
import { type LoadedConfig, readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";
import { rowsFor } from "./registry-import.ts";
import { appServers, type Kind, services, tariffs, withoutUndefined } from "./registry-kinds.ts";

/** `tollgate service|appserver|tariff add|import|list|remove`. */
export function addRegistryCommands(program: Command, io: Io): void {
  addKind(program, io, services);
  addAppServerKeyCommands(addKind(program, io, appServers), io);
  addKind(program, io, tariffs);
}

function addKind<T extends { readonly id: string }>(program: Command, io: Io, kind: Kind<T>): Command {
  const { command: name, what } = kind;
  const group = program.command(name).description(kind.description);
  const a = /^[aeiou]/.test(what) ? "an" : "a";
  const load = (command: Command) => readConfig(io, command.optsWithGlobals().config);

  const add = group.command("add").description(`register ${a} ${what}, or replace it with --replace`);
  add
    .argument("<id>", `id of the ${what}`)
    .option("--replace", `replace ${a} ${what} that is registered already`)
    .option("--force", "also if it names what is not there yet");
  kind.options(add);
  add.addHelpText("after", `\nExamples:${kind.examples}`);
  add.action(async (id: string, options: Record<string, unknown>, command: Command) => {
    const loaded = load(command);
    mustNotBeConfigured(kind, loaded, id);
    const thing = checked(kind, id, options, add);
    await withStore(loaded.config, async (store) => {
      const registry = kind.registry(store);
      const known = (await registry.get(id)) !== undefined;
      if (known && !options.replace) throw new CliError(`${what} ${id} is registered already; --replace replaces it`);
      if (!known) await kind.mayHave?.(store, id, options);
      const clash = kind.priced && (await clashWith(store, loaded.config, (others) => kind.priced!(thing, others)));
      if (clash) throw new CliError(clash, EXIT.usage);
      const gone = missing(thing, await allRegistered(store, loaded.config));
      if (gone.length > 0 && !options.force)
        throw new CliError(`there is no ${gone.join(", and no ")}; register it first, or say --force`, EXIT.usage);
      await registry.put(thing);
      io.out(`${what} ${id} ${known ? "replaced" : "registered"}\n`);
    });
  });

  addImport(group, io, kind, load);

  group
    .command("list")
    .description(`list every ${what} of the configuration and the store`)
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const loaded = load(command);
      const configured = kind.configured(loaded.config);
      const inFile = new Set(configured.map((thing) => thing.id));
      const stored = await withStore(loaded.config, (store) => kind.registry(store).list());
      const all = [
        ...configured.map((thing) => ({ thing, from: loaded.name })),
        ...stored.filter((thing) => !inFile.has(thing.id)).map((thing) => ({ thing, from: "store" })),
      ].sort((a, b) => (a.thing.id < b.thing.id ? -1 : 1));
      if (options.json)
        io.out(
          `${JSON.stringify(
            all.map(({ thing, from }) => ({ ...thing, from })),
            null,
            2,
          )}\n`,
        );
      else if (all.length === 0) io.out(`no ${what}s; register one with: tollgate ${name} add ID (see --help)\n`);
      else
        io.out(
          table(
            [...kind.headings, "FROM"],
            all.map(({ thing, from }) => [...kind.row(thing), from]),
          ),
        );
    });

  group
    .command("remove")
    .description(`remove ${a} ${what}`)
    .argument("<id>", `id of the ${what}`)
    .option("--force", "also if others name it")
    .action(async (id: string, options: { force?: boolean }, command: Command) => {
      const loaded = load(command);
      mustNotBeConfigured(kind, loaded, id);
      await withStore(loaded.config, async (store) => {
        const registry = kind.registry(store);
        if (!(await registry.get(id))) throw new CliError(`no ${what} ${id}; see: tollgate ${name} list`);
        const users = usersOf(what, id, await allRegistered(store, loaded.config));
        if (users.length > 0 && !options.force)
          throw new CliError(`${what} ${id} is in use by ${users.join(", ")}; change these first, or say --force`);
        const gone = (await kind.leave?.(store, id)) ?? "";
        await registry.remove(id);
        io.out(`${what} ${id} removed${gone}\n`);
      });
    });
  return group;
}

/** `tollgate service|appserver|tariff import`. */
function addImport<T extends { readonly id: string }>(
  group: Command,
  io: Io,
  kind: Kind<T>,
  load: (command: Command) => LoadedConfig,
): void {
  const { what, command: name } = kind;
  group
    .command("import")
    .description(`register every ${what} of a CSV file whose columns are the settings of ${name}s in tollgate.yaml`)
    .argument("<file>", "CSV with a header row; - for standard input")
    .option("--replace", "replace those that are registered already")
    .option("--force", "also those that name what is not there")
    .option("--dry-run", "only say what would be done")
    .addHelpText("after", `\nExamples:\n  $ tollgate ${name} import ${name}s.csv --dry-run`)
    .action(async (file: string, options: ImportOptions, command: Command) => {
      const loaded = load(command);
      await withStore(loaded.config, async (store) => {
        const registry = kind.registry(store);
        const known = new Map((await registry.list()).map((thing) => [thing.id, thing]));
        const all = await allRegistered(store, loaded.config);
        const taken: T[] = [];
        let rows = 0;
        const notTaken: string[] = [];
        const whyNot = async (thing: T): Promise<string | undefined> => {
          const { id } = thing;
          if (kind.configured(loaded.config).some((one) => one.id === id)) return `it is defined in ${loaded.name}`;
          if (taken.some((one) => one.id === id)) return "it stands on an earlier line already";
          if (known.has(id) && !options.replace) return "it is registered already; --replace replaces it";
          const gone = options.force ? [] : missing(thing, all);
          if (gone.length > 0) return `there is no ${gone.join(", and no ")}; --force takes it all the same`;
          const reused = known.has(id) ? undefined : await kind.mayHave?.(store, id, {}).catch(messageOf);
          return reused || (await clashWith(store, loaded.config, (others) => kind.priced?.(thing, others) ?? others));
        };
        for await (const { line, id, given, problem } of rowsFor(kind.schema, io, file)) {
          rows++;
          const read = kind.schema.safeParse(given);
          const why = problem ?? (read.success ? await whyNot(read.data) : mistakesIn(read.error, kind.schema, given));
          if (why === undefined && read.success) taken.push(read.data);
          else notTaken.push(`line ${line}: ${id === "" ? "" : `${id}: `}${why}\n`);
        }
        if (!options.dryRun) await registry.putAll(taken);
        for (const text of notTaken) io.err(text);
        io.out(`${taken.length} ${options.dryRun ? "would be registered" : "registered"}\n`);
        if (notTaken.length > 0) throw new CliError(`${notTaken.length} of ${rows} rows were not taken`);
      });
    });
}

interface ImportOptions {
  readonly replace?: boolean;
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

const mistakesIn = (error: z.ZodError, schema: z.ZodType, given: unknown): string =>
  findings(error, schema, given)
    .map(({ path, message }) => `${path.join(".")}: ${message}`)
    .join("; ");

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What the store and the configuration have; of the same id the configuration's counts. */
async function allRegistered(store: Store, config: Config): Promise<AllRegistered> {
  const merged = <U extends { readonly id: string }>(stored: readonly U[], configured: readonly U[]): U[] => [
    ...new Map([...stored, ...configured].map((thing) => [thing.id, thing])).values(),
  ];
  return {
    services: merged<Service>(await store.services.list(), config.services),
    appServers: merged<AppServer>(await store.appServers.list(), config.appServers),
    tariffs: merged<{ readonly id: string }>(await store.tariffs.list(), config.tariffs),
    rules: config.rules,
    taxes: config.taxes,
  };
}

/** The currency mistake that the new thing would bring; undefined: none. */
async function clashWith(store: Store, config: Config, add: (others: Priced) => Priced): Promise<string | undefined> {
  const [services, tariffs] = [await store.services.list(), await store.tariffs.list()];
  const { rules } = config;
  const others = { services: [...services, ...config.services], tariffs: [...tariffs, ...config.tariffs], rules };
  const text = ({ service, limits, tariff, currency }: CurrencyClash) =>
    `the limits of service ${service} are in ${limits}, its tariff ${tariff} in ${currency}: its app servers could charge nothing`;
  const before = new Set(currencyClashes(others).map(text));
  return currencyClashes(add(others))
    .map(text)
    .find((one) => !before.has(one));
}

function mustNotBeConfigured<T extends { readonly id: string }>(kind: Kind<T>, loaded: LoadedConfig, id: string): void {
  if (!kind.configured(loaded.config).some((thing) => thing.id === id)) return;
  throw new CliError(
    `${kind.what} ${id} is defined in ${loaded.name}, which wins over the store: change it there, then reload the relay (SIGHUP)`,
  );
}

function checked<T extends { readonly id: string }>(
  kind: Kind<T>,
  id: string,
  options: Record<string, unknown>,
  add: Command,
): T {
  const given = withoutUndefined(kind.build(id, options));
  const result = kind.schema.safeParse(given);
  if (result.success) return result.data;
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
