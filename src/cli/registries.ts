import { type Command, InvalidArgumentError } from "commander";
import type { z } from "zod";
import { tariffSchema } from "../charging/events/tariff-schema.ts";
import type { Tariff } from "../charging/money/tariff.ts";
import { findings } from "../config/problems.ts";
import { appServerSchema, type Config, serviceSchema } from "../config/schema.ts";
import { type CurrencyClash, currencyClashes, type Priced } from "../directory/currencies.ts";
import type { AppServer, Service } from "../directory/types.ts";
import type { Registry, Store } from "../store/types.ts";
import { leaveAppServer, mayHaveAppServer } from "./app-server-ids.ts";
import { addAppServerKeyCommands } from "./app-server-keys.ts";
import { type LoadedConfig, readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";

/** A kind of registered thing that a command changes: services, app servers, tariffs. */
interface Kind<T extends { readonly id: string }> {
  readonly command: string;
  readonly what: string;
  readonly description: string;
  readonly schema: z.ZodType<T>;
  configured(config: Config): readonly T[];
  registry(store: Store): Registry<T>;
  /** The options of `add`. */
  options(add: Command): void;
  /** The currencies that are in use when `thing` is added. A kind without this has no currency. */
  priced?(thing: T, others: Priced): Priced;
  /** What `add` was given, as the schema wants it; undefined fields are left out. */
  build(id: string, options: Record<string, unknown>): Record<string, unknown>;
  /** Called before a new id is used. Ends the command if the id must not be used. */
  mayHave?(store: Store, id: string, options: Record<string, unknown>): Promise<void>;
  /** Called before a thing is removed. Returns what is removed with it: ", and its key". */
  leave?(store: Store, id: string): Promise<string>;
  readonly headings: readonly string[];
  row(thing: T): readonly string[];
  readonly examples: string;
}

const numeric = (text: string): number => {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("It has to be a number.");
  return value;
};
const collect = (value: string, all: string[] = []): string[] => [...all, ...value.split(",").map((id) => id.trim())];
const withoutUndefined = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
const dash = (value: string | number | undefined): string => (value === undefined ? "-" : String(value));

const services: Kind<Service> = {
  command: "service",
  what: "service",
  description: "services: what clients ask for with sip:<id>@<portal>",
  schema: serviceSchema,
  configured: (config) => config.services,
  registry: (store) => store.services,
  options: (add) =>
    add
      .option("--title <text>", "name for people")
      .option("--tariff <id>", "tariff by which time is charged; without one, time is free")
      .option("--fork <mode>", "how several app servers are asked: sequential, first, all")
      .option(
        "--client-may-choose <modes>",
        "what a client's Request-Disposition may choose: single,sequential,first,all",
        collect,
      )
      .option("--clock <moment>", "when time begins to count: ack, answer")
      .option("--ring-s <seconds>", "how long an app server may ring", numeric)
      .option("--limit-charge <amount>", "largest single charge of an app server")
      .option("--limit-session <amount>", "largest sum of charges in a session")
      .option(
        "--limit-day <amount>",
        "largest sum of an app server's charges to one user for this service in a UTC day",
      )
      .option("--limit-currency <code>", "currency of these limits")
      .option("--late-charges-s <seconds>", "how long after its end a session takes charges", numeric)
      .option(
        "--change <proof>",
        "what agrees to a change to or from this service: answered (any 200), confirmed (it names the service)",
      ),
  build: (id, o) => {
    const given = withoutUndefined({
      charge: o.limitCharge,
      session: o.limitSession,
      day: o.limitDay,
      currency: o.limitCurrency,
    });
    const limits = Object.keys(given).length === 0 ? undefined : given;
    const { title, tariff, fork, clientMayChoose, clock, ringS, lateChargesS, change } = o;
    return { id, title, tariff, fork, clientMayChoose, clock, ringS, limits, lateChargesS, change };
  },
  priced: (service, others) => ({ ...others, services: [...others.services, service] }),
  headings: ["ID", "TARIFF", "FORK", "CLOCK", "TITLE"],
  row: (s) => [s.id, dash(s.tariff), s.fork ?? "sequential", s.clock ?? "ack", s.title ?? ""],
  examples: `
  $ tollgate service add wine --title "Wine shop"
  $ tollgate service add english --tariff lesson --fork first
  $ tollgate service add beer --limit-charge 100 --limit-session 500 --limit-currency EUR`,
};

const appServers: Kind<AppServer> = {
  command: "appserver",
  what: "app server",
  description: "application servers: who offers the services",
  schema: appServerSchema,
  configured: (config) => config.appServers,
  registry: (store) => store.appServers,
  options: (add) =>
    add
      .requiredOption("--uri <uri>", "where its SIP part listens, such as sip:10.0.0.5:5060;transport=tcp")
      .requiredOption("--service <id>", "a service that it offers; may be given again", collect)
      .option("--priority <number>", "lower is asked first (default 10)", numeric)
      .option("--weight <number>", "share among app servers of equal priority (default 1)", numeric)
      .option("--capacity <sessions>", "sessions at once (default unbounded)", numeric)
      .option("--certificate <name>", "the name in its certificate, for TLS (default the host of its URI)")
      .option("--inherit", "it is the app server that had this id before and was removed: its settlement goes on")
      .option(
        "--change <proof>",
        "how it agrees to a change of service: answered (any 200), confirmed (the 200 names the service)",
      ),
  build: (id, o) => ({
    id,
    uri: o.uri,
    services: o.service,
    priority: o.priority,
    weight: o.weight,
    capacity: o.capacity,
    certificate: o.certificate,
    change: o.change,
  }),
  mayHave: mayHaveAppServer,
  leave: leaveAppServer,
  headings: ["ID", "URI", "PRIORITY", "WEIGHT", "CAPACITY", "SERVICES"],
  row: (a) => [a.id, a.uri, dash(a.priority ?? 10), dash(a.weight ?? 1), dash(a.capacity), a.services.join(",")],
  examples: `
  $ tollgate appserver add shop1 --uri "sip:10.0.0.5:5060;transport=tcp" --service wine --service beer
  $ tollgate appserver add shop2 --uri sip:10.0.0.6 --service wine --priority 20 --capacity 100`,
};

const tariffs: Kind<Tariff> = {
  command: "tariff",
  what: "tariff",
  description: "tariffs: what a session's time costs",
  schema: tariffSchema as z.ZodType<Tariff>,
  configured: (config) => config.tariffs as readonly Tariff[],
  registry: (store) => store.tariffs,
  options: (add) =>
    add
      .requiredOption("--currency <code>", "ISO 4217 code, such as EUR")
      .option("--setup-fee <amount>", "charged once in a call")
      .option("--price <amount>", "price of each begun increment")
      .option("--increment-s <seconds>", "length of an increment (default 60)", numeric)
      .option("--free-s <seconds>", "seconds at the start that cost nothing", numeric)
      .option("--minimum <amount>", "least price of time, once in a call")
      .option("--cap <amount>", "greatest price of time, once in a call")
      .option("--rounding <mode>", "half-up, half-even, up, down"),
  build: (id, o) => ({
    id,
    currency: o.currency,
    setupFee: o.setupFee,
    price: o.price,
    incrementS: o.incrementS,
    freeS: o.freeS,
    minimum: o.minimum,
    cap: o.cap,
    rounding: o.rounding,
  }),
  priced: (tariff, others) => ({ ...others, tariffs: [...others.tariffs, tariff] }),
  headings: ["ID", "CURRENCY", "SETUP", "PRICE", "INCREMENT", "FREE", "MINIMUM", "CAP"],
  row: (t) => [
    t.id,
    t.currency,
    t.setupFee ?? "0",
    t.price ?? "0",
    `${t.incrementS ?? 60}s`,
    `${t.freeS ?? 0}s`,
    dash(t.minimum),
    dash(t.cap),
  ],
  examples: `
  $ tollgate tariff add lesson --currency EUR --price 0.50 --increment-s 60
  $ tollgate tariff add call --currency EUR --setup-fee 0.10 --price 0.01 --increment-s 1 --cap 5.00`,
};

/** `tollgate service|appserver|tariff add|list|remove`. */
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
  add.argument("<id>", `id of the ${what}`).option("--replace", `replace ${a} ${what} that is registered already`);
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
      await registry.put(thing);
      io.out(`${what} ${id} ${known ? "replaced" : "registered"}\n`);
    });
  });

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
    .action(async (id: string, _options: unknown, command: Command) => {
      const loaded = load(command);
      mustNotBeConfigured(kind, loaded, id);
      await withStore(loaded.config, async (store) => {
        const registry = kind.registry(store);
        if (!(await registry.get(id))) throw new CliError(`no ${what} ${id}; see: tollgate ${name} list`);
        const gone = (await kind.leave?.(store, id)) ?? "";
        await registry.remove(id);
        io.out(`${what} ${id} removed${gone}\n`);
      });
    });
  return group;
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
