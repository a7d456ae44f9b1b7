import { networkInterfaces } from "node:os";
import type { SettlementTerms } from "../charging/money/settlement-terms.ts";
import type { Tariff } from "../charging/money/tariff.ts";
import type { Tax } from "../charging/money/tax.ts";
import type { AppliedTax, Terms } from "../charging/money/terms.ts";
import type { SipRequest } from "../sip/message.ts";
import type { Store } from "../store/types.ts";
import { canonicalHost } from "../support/address.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { Result } from "../support/result.ts";
import { accountOf } from "./accounts.ts";
import { AppliedTerms } from "./applied-terms.ts";
import { currencyClashes } from "./currencies.ts";
import { withSipPart } from "./http-address.ts";
import { ServerPool, type ServerState, type Unavailable } from "./pool.ts";
import { type CompiledRules, compileRules, type Rejection, type RuleLookups, type Rules } from "./rules.ts";
import type { ApiToken, AppServer, AppServerKey, Identified, Rule, Service, User } from "./types.ts";

/**
 * Everything that is registered: users, services, app servers, tariffs, rules. It is held in memory, so that every
 * question about a request is answered at once. It is loaded again when the store's directory version changes. If
 * configuration and store have the same id, the configuration wins.
 */
export interface Directory extends Rules, RuleLookups {
  user(id: string): User | undefined;
  /** Has `fn` called now, and each time when something was read again. */
  whenLoaded(fn: () => void): void;
  /** The accounts of users whose sessions are to end since they are blocked. */
  accountsToEnd(): readonly string[];
  /** The name of a user's account: on bills and balances, and in events. */
  account(userId: string): string;
  service(id: string): Service | undefined;
  tariff(id: string): Tariff | undefined;
  appServer(id: string): AppServer | undefined;
  appServers(): readonly AppServer[];
  /** The taxes on a service now; undefined: none. The same object as long as nothing is loaded anew. */
  taxes(serviceId: string): readonly AppliedTax[] | undefined;
  /**
   * The terms that hold now for what an app server charges in a service; undefined: none. The same object, as above.
   */
  terms(serviceId: string, appServerId: string): Terms | undefined;
  /** A key that an app server signs in with. */
  appServerKey(id: string): AppServerKey | undefined;
  /** A token of the API, by its name. */
  token(name: string): ApiToken | undefined;
  /** All keys that one app server may sign in with. */
  keysOf(appServer: string): readonly AppServerKey[];
  /** How many app servers offer the service (M4), whether or not they can take a session now. `only`: of these. */
  offering(serviceId: string, only?: readonly string[]): number;
  /**
   * The app servers that can take a session now, in the order to ask them: by priority, among equals by weighted
   * chance.
   */
  serversFor(serviceId: string, only?: readonly string[]): AppServer[];
  /** Counts one session more at an app server; `release`, one less. */
  occupy(serverId: string): void;
  release(serverId: string): void;
  markHealth(serverId: string, state: "up" | "down"): void;
  /** Lets an app server rest for so long: no session begins there (RFC 3261 §21.5.4). */
  rest(serverId: string, forMs: number): void;
  /** How long an app server still rests; 0: it does not rest. */
  restsForMs(serverId: string): number;
  /** How many app servers rest now. */
  readonly resting: number;
  /** Why nobody can take a session of that service now. */
  unavailable(serviceId: string, only?: readonly string[]): Unavailable;
  /** Every app server with its health and its sessions, for people. */
  serverStates(): ServerState[];
  /** The app servers that have registered where they are. Those that are configured win. */
  registered(appServers: readonly AppServer[]): void;
  /** Whether an app server is there by its own registration alone. */
  isRegistered(id: string): boolean;
  /** Reads the store again. A configuration that is given holds from now on. Rejects when the store cannot be read. */
  reload(config?: DirectoryConfig): Promise<void>;
  close(): void;
}

/** The part of the configuration that the directory uses. */
export interface DirectoryConfig {
  readonly portal: {
    readonly domains: readonly string[];
    readonly realm?: string;
    readonly ownUsers?: readonly string[];
  };
  readonly limits: { readonly ruleBodyBytes: number };
  readonly listen: readonly { readonly address: string; readonly advertised?: { readonly host: string } | undefined }[];
  readonly services: readonly Service[];
  readonly tariffs: readonly Tariff[];
  readonly appServers: readonly AppServer[];
  readonly rules: readonly Rule[];
  readonly taxes: readonly Tax[];
  readonly settlement: SettlementTerms;
}

export interface DirectoryOptions {
  readonly config: DirectoryConfig;
  readonly store: Pick<Store, "users" | "services" | "appServers" | "tariffs" | "appServerKeys" | "directoryVersion"> &
    Partial<Pick<Store, "tokens" | "outOfService">>;
  readonly clock: Clock;
  readonly log: Logger;
  /** A number from 0 up to but not including 1; default Math.random. */
  readonly random?: () => number;
  /** How often the store's version is asked for, in milliseconds; default 1,000. */
  readonly pollMs?: number;
}

/** Reads everything and keeps it up to date until `close`. Rejects when the store cannot be read. */
export async function createDirectory(options: DirectoryOptions): Promise<Directory> {
  const directory = new CachedDirectory(options);
  await directory.reload();
  directory.poll();
  return directory;
}

class CachedDirectory implements Directory {
  private readonly options: DirectoryOptions;
  private readonly pool: ServerPool;
  private config: DirectoryConfig;
  private rules: CompiledRules;
  private portalHosts: ReadonlySet<string>;
  private users = new Map<string, User>();
  private toEnd: readonly string[] = [];
  private readonly listeners: (() => void)[] = [];
  private services = new Map<string, Service>();
  private tariffs = new Map<string, Tariff>();
  private keys = new Map<string, AppServerKey>();
  private tokens = new Map<string, ApiToken>();
  private applied: AppliedTerms;
  /** App servers that have registered, and the others. */
  private byThemselves: readonly AppServer[] = [];
  private configured: readonly AppServer[] = [];
  private drained: ReadonlySet<string> = new Set();
  private version = -1;
  private loading: Promise<void> = Promise.resolve();
  private timer: TimerHandle | undefined;
  private closed = false;

  constructor(options: DirectoryOptions) {
    this.options = options;
    this.pool = new ServerPool(options.random ?? Math.random, options.clock);
    this.config = options.config;
    this.rules = rulesOf(options.config);
    this.portalHosts = hostsOf(options.config);
    this.applied = this.appliedTerms();
  }

  private appliedTerms(): AppliedTerms {
    const { taxes, settlement } = this.config;
    const [service, appServer] = [(id: string) => this.service(id), (id: string) => this.appServer(id)];
    return new AppliedTerms({ taxes, settlement, service, appServer });
  }

  get portalDomains(): readonly string[] {
    return this.config.portal.domains;
  }

  get ruleBodyBytes(): number {
    return this.config.limits.ruleBodyBytes;
  }

  identify(request: SipRequest, user?: string): Result<Identified, Rejection> {
    return this.rules.identify(request, this, user);
  }

  user(id: string): User | undefined {
    return this.users.get(id);
  }

  whenLoaded(fn: () => void): void {
    this.listeners.push(fn);
    fn();
  }

  accountsToEnd(): readonly string[] {
    return this.toEnd;
  }

  account(userId: string): string {
    return this.users.get(userId)?.account ?? userId;
  }

  service(id: string): Service | undefined {
    return this.services.get(id);
  }

  tariff(id: string): Tariff | undefined {
    return this.tariffs.get(id);
  }

  isPortal(host: string): boolean {
    return this.portalHosts.has(host) || this.portalHosts.has(canonicalHost(host));
  }

  appServer(id: string): AppServer | undefined {
    return this.pool.get(id);
  }

  appServers(): readonly AppServer[] {
    return this.pool.all();
  }

  taxes(serviceId: string): readonly AppliedTax[] | undefined {
    return this.applied.taxes(serviceId);
  }

  terms(serviceId: string, appServerId: string): Terms | undefined {
    return this.applied.terms(serviceId, appServerId);
  }

  keysOf(appServer: string): readonly AppServerKey[] {
    return [...this.keys.values()].filter((key) => key.appServer === appServer);
  }

  appServerKey(id: string): AppServerKey | undefined {
    return this.keys.get(id);
  }

  token(name: string): ApiToken | undefined {
    return this.tokens.get(name);
  }

  offering(serviceId: string, only?: readonly string[]): number {
    return this.pool.offering(serviceId, only);
  }

  serversFor(serviceId: string, only?: readonly string[]): AppServer[] {
    return this.pool.available(serviceId, only);
  }

  occupy(serverId: string): void {
    this.pool.occupy(serverId);
  }

  release(serverId: string): void {
    this.pool.release(serverId);
  }

  markHealth(serverId: string, state: "up" | "down"): void {
    this.pool.markHealth(serverId, state);
  }

  rest(serverId: string, forMs: number): void {
    this.pool.rest(serverId, forMs);
  }

  restsForMs(serverId: string): number {
    return this.pool.restsForMs(serverId);
  }

  get resting(): number {
    return this.pool.resting;
  }

  unavailable(serviceId: string, only?: readonly string[]): Unavailable {
    return this.pool.unavailable(serviceId, only);
  }

  serverStates(): ServerState[] {
    return this.pool.states();
  }

  reload(config?: DirectoryConfig): Promise<void> {
    if (config) {
      this.rules = rulesOf(config);
      this.portalHosts = hostsOf(config);
      this.config = config;
    }
    // One load after the other, so that what was read last is what holds.
    this.loading = this.loading.catch(() => {}).then(() => this.load());
    return this.loading;
  }

  /** Asks for the store's version now and then, and reads again when it has changed. */
  poll(): void {
    if (this.closed) return;
    const { clock, store, log, pollMs = 1000 } = this.options;
    this.timer = clock.setTimeout(() => {
      store
        .directoryVersion()
        .then((version) => (version === this.version || this.closed ? undefined : this.reload()))
        .catch((error) => {
          if (!this.closed)
            log.error({ err: error }, "the store cannot be read: what is registered may be out of date");
        })
        .finally(() => this.poll());
    }, pollMs);
  }

  close(): void {
    this.closed = true;
    this.options.clock.clearTimeout(this.timer);
  }

  registered(appServers: readonly AppServer[]): void {
    this.byThemselves = appServers;
    this.replaceServers();
    this.applied = this.appliedTerms();
  }

  isRegistered(id: string): boolean {
    return this.byThemselves.some((one) => one.id === id) && !this.configured.some((one) => one.id === id);
  }

  private replaceServers(): void {
    this.pool.replace([...merged(this.byThemselves, this.configured).values()], this.drained);
  }

  private async load(): Promise<void> {
    const { store, log } = this.options;
    // The version is read before the lists. A change in between is then noticed at the next poll.
    const version = await store.directoryVersion();
    const [users, services, appServers, tariffs, keys, tokens = [], out = []] = await Promise.all([
      store.users.list(),
      store.services.list(),
      store.appServers.list(),
      store.tariffs.list(),
      store.appServerKeys.list(),
      store.tokens?.list(),
      store.outOfService?.list(),
    ]);
    this.users = merged(users, []);
    this.toEnd = users.filter(({ blocked }) => blocked?.end).map(accountOf);
    this.services = merged(services, this.config.services);
    this.tariffs = merged<Tariff>(tariffs, this.config.tariffs);
    this.keys = merged(keys, []);
    this.tokens = merged(tokens, []);
    this.drained = new Set(out.map(({ id }) => id));
    this.configured = [...merged(appServers, this.config.appServers).values()].map(withSipPart);
    this.replaceServers();
    this.applied = this.appliedTerms();
    this.version = version;
    for (const service of this.services.values()) {
      if (service.tariff !== undefined && !this.tariffs.has(service.tariff))
        log.warn(
          { service: service.id, tariff: service.tariff },
          "a service names a tariff that does not exist: requests for it are refused",
        );
    }
    const { realm, ownUsers = [] } = this.config.portal;
    const ofOthers = users.filter((user) => user.realm !== realm && !ownUsers.includes(user.realm)).length;
    if (realm !== undefined && ofOthers > 0)
      log.warn({ users: ofOthers, realm }, "users have another realm than the portal's: they cannot sign in");
    const { rules } = this.config;
    for (const clash of currencyClashes({
      services: [...this.services.values()],
      tariffs: [...this.tariffs.values()],
      rules,
    }))
      log.warn(
        clash,
        "the limits of a service are in another currency than its tariff: its app servers can charge nothing",
      );
    const counts = { users: users.length, services: this.services.size, appServers: this.pool.all().length };
    log.info({ ...counts, tariffs: this.tariffs.size }, "directory loaded");
    for (const listener of this.listeners) listener();
  }
}

/** By id; of the same id the one in the configuration wins. */
function merged<T extends { readonly id: string }>(stored: readonly T[], configured: readonly T[]): Map<string, T> {
  const all = new Map<string, T>();
  for (const thing of stored) all.set(thing.id, thing);
  for (const thing of configured) all.set(thing.id, thing);
  return all;
}

function rulesOf(config: DirectoryConfig): CompiledRules {
  const rules = compileRules(config.rules);
  // loadConfig has compiled them before; only a configuration that was put together in code comes here with a mistake.
  if (!rules.ok) throw new Error(`rules[${rules.error[0]?.path.join(".")}]: ${rules.error[0]?.message}`);
  return rules.value;
}

/**
 * The portal's domains, and the addresses and advertised hosts where the relay is reached: a client may write either
 * into the Request-URI.
 */
function hostsOf(config: DirectoryConfig): Set<string> {
  const hosts = new Set(config.portal.domains.map(canonicalHost));
  for (const { address, advertised } of config.listen) {
    for (const one of ANY.includes(address) ? machineAddresses(address) : [address]) hosts.add(canonicalHost(one));
    if (advertised) hosts.add(canonicalHost(advertised.host));
  }
  return hosts;
}

const ANY = ["0.0.0.0", "::"];

/** The addresses that a socket on `0.0.0.0` or `::` takes. */
function machineAddresses(any: string): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.filter(({ family }) => any === "::" || family === "IPv4").map(({ address }) => address);
}
