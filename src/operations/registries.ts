import { z } from "zod";
import { tariffSchema } from "../charging/events/tariff-schema.ts";
import type { Tariff } from "../charging/money/tariff.ts";
import { appServerSchema, serviceSchema } from "../config/directory-schema.ts";
import { findings } from "../config/problems.ts";
import type { Config } from "../config/schema.ts";
import { type CurrencyClash, currencyClashes, type Priced } from "../directory/currencies.ts";
import { type AllRegistered, missing, type RegisteredKind, usersOf } from "../directory/references.ts";
import type { AppServer, Service } from "../directory/types.ts";
import type { Registry, Store } from "../store/types.ts";
import { leaveAppServer, mayHaveAppServer } from "./app-server-ids.ts";
import type { OperationContext } from "./context.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, idField, nothing, operation } from "./operation.ts";

/** A kind of registered thing: services, app servers, tariffs. */
export interface Kind<T extends { readonly id: string }> {
  /** As the command names it. */
  readonly command: string;
  readonly what: RegisteredKind;
  readonly schema: z.ZodType<T> & { readonly shape: z.ZodRawShape };
  configured(config: Pick<Config, "services" | "appServers" | "tariffs">): readonly T[];
  registry(store: Store): Registry<T>;
  /** The currencies that are in use when `thing` is added. A kind without this has no currency. */
  priced?(thing: T, others: Priced): Priced;
  /** Called before a new id is used. Throws if it must not be used. */
  mayHave?(store: Store, id: string, now: number, inherit: boolean): Promise<void>;
  /** Called before a thing is removed. Resolves to how many keys are removed with it. */
  leave?(store: Store, id: string, now: number): Promise<number>;
}

export const services: Kind<Service> = {
  command: "service",
  what: "service",
  schema: serviceSchema as unknown as Kind<Service>["schema"],
  configured: (config) => config.services,
  registry: (store) => store.services,
  priced: (service, others) => ({ ...others, services: [...others.services, service] }),
};

export const appServers: Kind<AppServer> = {
  command: "appserver",
  what: "app server",
  schema: appServerSchema as unknown as Kind<AppServer>["schema"],
  configured: (config) => config.appServers,
  registry: (store) => store.appServers,
  mayHave: mayHaveAppServer,
  leave: leaveAppServer,
};

export const tariffs: Kind<Tariff> = {
  command: "tariff",
  what: "tariff",
  schema: tariffSchema as unknown as Kind<Tariff>["schema"],
  configured: (config) => config.tariffs as readonly Tariff[],
  registry: (store) => store.tariffs,
  priced: (tariff, others) => ({ ...others, tariffs: [...others.tariffs, tariff] }),
};

/** A thing with where it stands. */
export type Listed<T> = T & { readonly from: string };
const from = z.string().describe("`store`, or the name of the configuration.");
const fields = <T extends { readonly id: string }>({ schema: { shape } }: Kind<T>) => shape as { id: z.ZodType };

const listedAs = <T extends { readonly id: string }>(kind: Kind<T>) => z.object({ ...fields(kind), from });

/** Every thing of a kind, by its id; of the same id the configuration's. */
export async function listed<T extends { readonly id: string }>(
  kind: Kind<T>,
  { config, configName, store }: Pick<OperationContext, "config" | "configName" | "store">,
): Promise<Listed<T>[]> {
  const configured = kind.configured(config);
  const inFile = new Set(configured.map(({ id }) => id));
  const stored = await kind.registry(store).list();
  return [
    ...configured.map((thing) => ({ ...thing, from: configName })),
    ...stored.filter(({ id }) => !inFile.has(id)).map((thing) => ({ ...thing, from: "store" })),
  ].sort((a, b) => (a.id < b.id ? -1 : 1));
}

export const listServices = operation({
  id: "listServices",
  method: "GET",
  path: "/v1/services",
  summary: "What clients can ask for",
  right: "see",
  input: nothing,
  output: z.object({ services: z.array(listedAs(services)) }),
  run: async (context) => ({ services: await listed(services, context) }),
});

export const listTariffs = operation({
  id: "listTariffs",
  method: "GET",
  path: "/v1/tariffs",
  summary: "What time costs",
  right: "see",
  input: nothing,
  output: z.object({ tariffs: z.array(listedAs(tariffs)) }),
  run: async (context) => ({ tariffs: await listed(tariffs, context) }),
});

/** Drained by the operator before all others; then down, then resting (RFC 3261 §21.5.4). */
const STATES = ["up", "down", "resting", "drained"] as const;
export type AppServerState = (typeof STATES)[number];

/** An app server; state and sessions as the relay that runs sees them, missing where none was asked. */
export type ListedAppServer = Listed<AppServer> & {
  readonly state?: AppServerState;
  readonly sessions?: number;
  readonly restsForMs?: number;
};

export const listAppServers = operation({
  id: "listAppServers",
  method: "GET",
  path: "/v1/app-servers",
  summary: "Who offers the services, and whether they can be asked now",
  right: "see",
  live: "if-there",
  input: nothing,
  output: z.object({
    appServers: z.array(
      listedAs(appServers).extend({
        state: z.enum(STATES).optional(),
        sessions: z.int().optional(),
        restsForMs: z.number().optional(),
      }),
    ),
  }),
  async run(context): Promise<{ appServers: ListedAppServer[] }> {
    const all = await listed(appServers, context);
    const states = new Map(context.relay?.appServers().map((one) => [one.server.id, one]));
    const out = new Set((await context.store.outOfService.list()).map(({ id }) => id));
    return {
      appServers: all.map((thing) => {
        const seen = states.get(thing.id);
        const drained = seen?.drained || out.has(thing.id);
        if (!seen) return { ...thing, ...(drained && { state: "drained" }) };
        const { up, sessions, restsForMs } = seen;
        const state = drained ? "drained" : !up ? "down" : restsForMs > 0 ? "resting" : "up";
        return { ...thing, state, sessions, ...(restsForMs > 0 && { restsForMs }) };
      }),
    };
  },
});

const put = z.object({ id: z.string(), replaced: z.boolean() });
const more = {
  replace: z.boolean().optional().describe("Replace one that is registered already."),
  force: z.boolean().optional().describe("Also if it names what is not there."),
};

function putOperation<T extends { readonly id: string }>(kind: Kind<T>, id: string, path: string) {
  const inherit = z.boolean().optional().describe("It is the one that had this id before and was removed.");
  const input = z.strictObject({ ...fields(kind), ...more, ...(kind.mayHave && { inherit }) });
  return operation({
    id,
    method: "PUT",
    path: `${path}/{id}`,
    summary: `Register the ${kind.what}, or replace it`,
    right: "operate",
    input,
    output: put,
    run: (context, given) => putThing(kind, context, given as unknown as Given),
  });
}

interface Given {
  readonly id: string;
  readonly replace?: boolean;
  readonly force?: boolean;
  readonly inherit?: boolean;
}

async function putThing<T extends { readonly id: string }>(
  kind: Kind<T>,
  { config, configName, store, now }: OperationContext,
  { replace, force, inherit, ...given }: Given,
): Promise<{ id: string; replaced: boolean }> {
  const { what } = kind;
  const { id } = given;
  mustNotBeConfigured(kind, config, configName, id);
  const read = kind.schema.safeParse(given);
  if (!read.success) {
    const [first] = findings(read.error, kind.schema, given);
    throw new OperationError("usage", first?.message ?? "cannot be read", { field: first?.path.join(".") ?? "" });
  }
  const thing = read.data;
  const registry = kind.registry(store);
  const replaced = (await registry.get(id)) !== undefined;
  if (replaced && !replace)
    throw new OperationError("refused", `${what} ${id} is registered already`, { hint: "--replace replaces it" });
  if (!replaced) await kind.mayHave?.(store, id, now(), inherit === true);
  const clash = kind.priced && (await clashWith(store, config, (others) => kind.priced!(thing, others)));
  if (clash) throw new OperationError("usage", clash);
  const gone = missing(thing, await allRegistered(store, config));
  if (gone.length > 0 && !force)
    throw new OperationError("usage", `there is no ${gone.join(", and no ")}`, {
      hint: "register it first, or say --force",
    });
  if (replaced) await registry.put(thing);
  else if (!(await registry.add(thing)))
    throw new OperationError("refused", `${what} ${id} was registered just now by somebody else`);
  return { id, replaced };
}

function removeOperation<T extends { readonly id: string }>(kind: Kind<T>, operationId: string, path: string) {
  const { what, command } = kind;
  return operation({
    id: operationId,
    method: "DELETE",
    path: `${path}/{id}`,
    summary: `Remove the ${what}`,
    right: "operate",
    input: z.strictObject({ id: idField, force: z.boolean().optional().describe("Also if others name it.") }),
    output: z.object({ id: z.string(), removed: z.literal(true), keys: z.int().optional() }),
    async run({ config, configName, store, now }, { id, force }) {
      mustNotBeConfigured(kind, config, configName, id);
      const registry = kind.registry(store);
      if (!(await registry.get(id)))
        throw new OperationError("unknown", `no ${what} ${id}`, { hint: `see: tollgate ${command} list` });
      const users = usersOf(what, id, await allRegistered(store, config));
      if (users.length > 0 && !force)
        throw new OperationError("refused", `${what} ${id} is in use by ${users.join(", ")}`, {
          hint: "change these first, or say --force",
        });
      const keys = await kind.leave?.(store, id, now());
      await registry.remove(id);
      return { id, removed: true, ...(keys && { keys }) };
    },
  });
}

/** What the store and the configuration have; of the same id the configuration's counts. */
export async function allRegistered(store: Store, config: Config): Promise<AllRegistered> {
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
export async function clashWith(
  store: Store,
  config: Config,
  add: (others: Priced) => Priced,
): Promise<string | undefined> {
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

function mustNotBeConfigured<T extends { readonly id: string }>(
  kind: Kind<T>,
  config: Config,
  configName: string,
  id: string,
): void {
  if (!kind.configured(config).some((thing) => thing.id === id)) return;
  throw new OperationError(
    "refused",
    `${kind.what} ${id} is defined in ${configName}, which wins over the store: change it there, then reload the relay (SIGHUP)`,
  );
}

const outOfService = z.object({ id: z.string(), state: z.enum(["drained", "in-service"]) });

async function mustKnowServer({ config, store }: OperationContext, id: string): Promise<void> {
  if (config.appServers.some((one) => one.id === id) || (await store.appServers.get(id))) return;
  throw new OperationError("unknown", `no app server ${id}`, { hint: "see: tollgate appserver list" });
}

export const drainAppServer = operation({
  id: "drainAppServer",
  method: "POST",
  path: "/v1/app-servers/{id}/drain",
  summary: "Take an app server out of service, at all nodes: no session begins there, and those that run go on",
  right: "operate",
  input: z.strictObject({ id: idField }),
  output: outOfService,
  async run(context, { id }) {
    await mustKnowServer(context, id);
    await context.store.outOfService.add({ id, since: context.now() });
    return { id, state: "drained" };
  },
});

export const resumeAppServer = operation({
  id: "resumeAppServer",
  method: "POST",
  path: "/v1/app-servers/{id}/resume",
  summary: "Put an app server into service again",
  right: "operate",
  input: z.strictObject({ id: idField }),
  output: outOfService,
  async run(context, { id }) {
    if (!(await context.store.outOfService.remove(id))) await mustKnowServer(context, id);
    return { id, state: "in-service" };
  },
});

const KIND_OPERATIONS = {
  service: [
    putOperation(services, "putService", "/v1/services"),
    removeOperation(services, "removeService", "/v1/services"),
  ],
  "app server": [
    putOperation(appServers, "putAppServer", "/v1/app-servers"),
    removeOperation(appServers, "removeAppServer", "/v1/app-servers"),
  ],
  tariff: [putOperation(tariffs, "putTariff", "/v1/tariffs"), removeOperation(tariffs, "removeTariff", "/v1/tariffs")],
} as const;

/** How a kind is put and removed. */
export const putOf = ({ what }: { readonly what: RegisteredKind }) => KIND_OPERATIONS[what][0];
export const removeOf = ({ what }: { readonly what: RegisteredKind }) => KIND_OPERATIONS[what][1];

export const registryOperations: readonly AnyOperation[] = [
  listServices,
  ...KIND_OPERATIONS.service,
  listAppServers,
  ...KIND_OPERATIONS["app server"],
  drainAppServer,
  resumeAppServer,
  listTariffs,
  ...KIND_OPERATIONS.tariff,
];
