import { type Command, InvalidArgumentError } from "commander";
import type { Tariff } from "../charging/money/tariff.ts";
import type { AppServer, Service } from "../directory/types.ts";
import * as kinds from "../operations/registries.ts";
import { type Kind, type Listed, listAppServers, listServices, listTariffs } from "../operations/registries.ts";
import { ask } from "./ask.ts";
import type { Io } from "./io.ts";

/** A kind of registered thing, at the command line. */
export interface CommandKind<T extends { readonly id: string }> extends Kind<T> {
  readonly description: string;
  /** The options of `add`. */
  options(add: Command): void;
  /** What `add` was given, as the schema wants it; undefined fields are left out. */
  build(id: string, options: Record<string, unknown>): Record<string, unknown>;
  list(io: Io, command: Command): Promise<readonly Listed<T>[]>;
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
export const withoutUndefined = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
const dash = (value: string | number | undefined): string => (value === undefined ? "-" : String(value));

export const services: CommandKind<Service> = {
  ...kinds.services,
  description: "services: what clients ask for with sip:<id>@<portal>",
  list: async (io, command) => (await ask(io, command, listServices, {})).services,
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
  headings: ["ID", "TARIFF", "FORK", "CLOCK", "TITLE"],
  row: (s) => [s.id, dash(s.tariff), s.fork ?? "sequential", s.clock ?? "ack", s.title ?? ""],
  examples: `
  $ tollgate service add wine --title "Wine shop"
  $ tollgate service add english --tariff lesson --fork first
  $ tollgate service add beer --limit-charge 100 --limit-session 500 --limit-currency EUR`,
};

export const appServers: CommandKind<AppServer> = {
  ...kinds.appServers,
  description: "application servers: who offers the services",
  list: async (io, command) => (await ask(io, command, listAppServers, {})).appServers,
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
  headings: ["ID", "URI", "PRIORITY", "WEIGHT", "CAPACITY", "SERVICES"],
  row: (a) => [a.id, a.uri, dash(a.priority ?? 10), dash(a.weight ?? 1), dash(a.capacity), a.services.join(",")],
  examples: `
  $ tollgate appserver add shop1 --uri "sip:10.0.0.5:5060;transport=tcp" --service wine --service beer
  $ tollgate appserver add shop2 --uri sip:10.0.0.6 --service wine --priority 20 --capacity 100`,
};

export const tariffs: CommandKind<Tariff> = {
  ...kinds.tariffs,
  description: "tariffs: what a session's time costs",
  list: async (io, command) => (await ask(io, command, listTariffs, {})).tariffs,
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
