import type { Tariff } from "../charging/money/tariff.ts";
import { possibleClashes } from "../directory/currencies.ts";
import type { AppServer, Service } from "../directory/types.ts";
import { isLoopback } from "../support/address.ts";
import type { Finding } from "./problems.ts";
import type { Config } from "./schema.ts";

/** What the store has registered, beside what stands in the file. */
export interface Registered {
  readonly services: readonly Service[];
  readonly appServers: readonly AppServer[];
  readonly tariffs?: readonly Tariff[];
  /** How many users there are of each realm that their hashes are for. */
  readonly realms?: ReadonlyMap<string, number>;
}

/** Settings that are no mistake, but may cost money. */
export function advice(config: Config, registered: Registered): Finding[] {
  return [
    ...changesOfService(config, registered),
    ...currenciesOfRules(config, registered),
    ...rulesByFrom(config),
    ...unsignedEvents(config),
    ...usersOfOtherRealms(config, registered),
    ...servicesOfNobody(config, registered),
    ...noDomain(config),
  ];
}

/**
 * From is what a client calls itself. With `fromMustMatch` it names the user who signs in, or is anonymous. No pattern
 * for a user matches an anonymous From.
 */
function rulesByFrom({ rules, authentication }: Config): Finding[] {
  return rules.flatMap(({ when, then }, i): Finding[] => {
    if (when.from === undefined || when.user !== undefined) return [];
    const how = !authentication.fromMustMatch
      ? "whatever a client writes (authentication.fromMustMatch: false)"
      : then.reject === undefined
        ? undefined
        : "what a client calls itself, and this rule is passed by who calls himself anonymous";
    if (how === undefined) return [];
    return [{ path: ["rules", i, "when", "from"], message: `From is ${how}: say user for who signed in` }];
  });
}

/** Hashes are made with the realm: after a change of the realm nobody can sign in. */
function usersOfOtherRealms({ portal }: Config, { realms = new Map() }: Registered): Finding[] {
  return [...realms].flatMap(([realm, users]): Finding[] => {
    if (realm === portal.realm || portal.ownUsers.includes(realm)) return [];
    const have = users === 1 ? "1 user has" : `${users} users have`;
    const message = `${have} realm ${realm}, and cannot sign in with realm ${portal.realm}: give them their passwords again, or set realm: ${realm}`;
    return [{ path: ["portal", "realm"], message }];
  });
}

function servicesOfNobody(config: Config, { services, appServers }: Registered): Finding[] {
  const inFile = new Set(config.appServers.map(({ id }) => id));
  const servers = [...config.appServers, ...appServers.filter(({ id }) => !inFile.has(id))];
  const offered = new Set(servers.flatMap((server) => server.services));
  const here = config.services.map(({ id }, i) => ({ id, path: ["services", i] }));
  const inStore = services.filter(({ id }) => !config.services.some((one) => one.id === id));
  return [...here, ...inStore.map(({ id }) => ({ id, path: [] }))]
    .filter(({ id }) => !offered.has(id))
    .map(({ id, path }) => ({ path, message: `no app server offers service ${id}: whoever asks for it gets 404` }));
}

/** Others than this machine can reach the relay, and no client writes sip:wine@localhost. */
function noDomain({ portal, listen }: Config): Finding[] {
  if (portal.domains.join() !== "localhost" || listen.every(({ address }) => isLoopback(address))) return [];
  const message =
    "no domain is set, so the portal is localhost, which other machines take for themselves: set portal.domains";
  return [{ path: ["listen"], message }];
}

function unsignedEvents({ bus }: Config): Finding[] {
  if (bus === undefined || bus.secretFile !== undefined) return [];
  const subject = `${bus.prefix}.events.>`;
  const message = `events are not signed: whoever may publish to ${subject} can bill anybody; set secretFile (or TOLLGATE_BUS_SECRET)`;
  return [{ path: ["bus"], message }];
}

function currenciesOfRules(config: Config, { services, tariffs = [] }: Registered): Finding[] {
  const all = { services: [...services, ...config.services], tariffs: [...tariffs, ...config.tariffs] };
  return possibleClashes({ ...all, rules: config.rules }).map(({ rule, service, limits, tariff, currency }) => ({
    path: ["rules", rule!, "then", "tariff"],
    message: `where this rule is for ${service}, whose limits are in ${limits}, its app servers can charge nothing: tariff ${tariff} is in ${currency}`,
  }));
}

function changesOfService(config: Config, registered: Registered): Finding[] {
  const services = new Map([...registered.services, ...config.services].map((service) => [service.id, service]));
  const inFile = new Set(config.appServers.map(({ id }) => id));
  const places = [
    ...config.appServers.map((server, i) => ({ server, path: ["appServers", i] })),
    ...registered.appServers.filter(({ id }) => !inFile.has(id)).map((server) => ({ server, path: [] })),
  ];
  return places.flatMap(({ server, path }) => {
    const pair = changeThatCostsLess(server, services);
    return pair ? [{ path, message: stopsTheMeter(server, pair) }] : [];
  });
}

type Pair = readonly [from: Service, to: Service];

/**
 * Two services of an app server whose time does not cost the same, where any 2xx is a yes to a change and nobody has
 * said that it may be.
 */
function changeThatCostsLess(server: AppServer, services: ReadonlyMap<string, Service>): Pair | undefined {
  if (server.change !== undefined) return undefined;
  const open = server.services.flatMap((id) => services.get(id) ?? []).filter(({ change }) => change === undefined);
  const from = open.find(({ tariff }) => tariff !== undefined);
  // Free services first: there the clock stops.
  const to =
    from && (open.find(({ tariff }) => tariff === undefined) ?? open.find(({ tariff }) => tariff !== from.tariff));
  return from && to && [from, to];
}

const stopsTheMeter = ({ id }: AppServer, [from, to]: Pair): string =>
  `app server ${id}: a client pays for ${to.id} (${to.tariff === undefined ? "its time is free" : `tariff ${to.tariff}`}) in the place of ${from.id} ` +
  `(tariff ${from.tariff}) after any 200 to a re-INVITE that asks for it; say change: confirmed if the app server names the service in its 200 ` +
  "(Tollgate-Service, as the SDK does), change: answered if it refuses what it does not know";
