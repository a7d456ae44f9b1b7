import { type CurrencyClash, currencyClashes, type Priced } from "../directory/currencies.ts";
import { loadShakenKey } from "../identity/shaken.ts";
import { sipUriOf } from "../sip/uri.ts";
import { headersIn } from "../telemetry/headers-file.ts";
import { readTls, TlsMistake } from "../transport/certificates.ts";
import { KINDS, TRANSPORTS } from "../transport/kinds.ts";
import { whyUnreachable } from "../transport/resolve.ts";
import { Endpoint, UsageMistake } from "../usage/endpoint.ts";
import { closest, type Finding, type Path } from "./problems.ts";
import type { Config } from "./schema.ts";

/** What is registered in the store, beside what the file has. */
export interface Known extends Omit<Priced, "rules"> {
  readonly appServers: readonly { readonly id: string }[];
}

/** What listens by TLS has a certificate. Whether the files can be used: `fileMistakes`. */
export function tlsMistakes({ listen, tls, appServers }: Config): Finding[] {
  const found: Finding[] = [];
  for (const [i, { transport }] of listen.entries())
    if (KINDS[transport].secure && tls.cert === undefined)
      found.push({ path: ["listen", i], message: `expected tls.cert and tls.key, which ${transport} needs` });
  for (const [i, { uri }] of appServers.entries()) {
    const read = sipUriOf(uri);
    const why = read && whyUnreachable(read, TRANSPORTS);
    if (why !== undefined)
      found.push({
        path: ["appServers", i, "uri"],
        message: `expected a URI that can be reached; found ${uri}: ${why}`,
      });
  }
  return found;
}

/** Files that are missing or do not fit. The paths are those of this machine. */
export function fileMistakes({ tls, usage, telemetry, identity }: Config, now = Date.now()): Finding[] {
  const inUsage = usage.flatMap((sink, i): Finding[] => {
    try {
      new Endpoint(sink, process.env, { wall: () => now });
      return [];
    } catch (error) {
      if (!(error instanceof UsageMistake)) throw error;
      // A secret that is missing may be in the environment of the relay alone, which says so at its start.
      return error.isMissing ? [] : [{ path: ["usage", i, error.field], message: error.message }];
    }
  });
  return [
    ...tlsFileMistakes(tls, now),
    ...inUsage,
    ...headersFileMistakes(telemetry),
    ...shakenMistakes(identity, now),
  ];
}

function shakenMistakes(identity: Config["identity"], now: number): Finding[] {
  const { shaken } = identity ?? {};
  if (!identity || !shaken) return [];
  try {
    loadShakenKey(shaken, identity, now);
    return [];
  } catch (error) {
    const { message } = error as Error;
    const field = message.startsWith(`${shaken.key}:`) ? "key" : "certificate";
    return [{ path: ["identity", "shaken", field], message }];
  }
}

function headersFileMistakes({ headersFile }: Config["telemetry"]): Finding[] {
  try {
    if (headersFile !== undefined) headersIn(headersFile);
    return [];
  } catch (error) {
    return [{ path: ["telemetry", "headersFile"], message: (error as Error).message }];
  }
}

function tlsFileMistakes(tls: Config["tls"], now: number): Finding[] {
  try {
    readTls(tls, now);
    return [];
  } catch (error) {
    if (!(error instanceof TlsMistake)) throw error;
    return [{ path: ["tls", error.field], message: error.message }];
  }
}

/** Whoever wants rtpengine says where it is. */
export function mediaMistakes({ media, services, appServers }: Config): Finding[] {
  if (media.rtpengines.length > 0) return [];
  const wants = (section: string, all: readonly { readonly media?: string }[]) =>
    all.flatMap((one, i) =>
      one.media === "rtpengine"
        ? [{ path: [section, i, "media"], message: "expected media.rtpengines to say where one takes commands" }]
        : [],
    );
  return [...wants("services", services), ...wants("appServers", appServers)];
}

/** Where phones get their settings is served by the relay itself. */
export const provisioningMistakes = ({ provisioning, http }: Config): Finding[] =>
  provisioning && !http.listen
    ? [{ path: ["provisioning"], message: "expected http.listen to say where the relay serves what phones get" }]
    : [];

/** Ids, rule names and addresses that stand twice in one configuration. */
export function duplicates(config: Config): Finding[] {
  const rules = config.rules.map((rule) => rule.name);
  const currencies = config.charging.limits.map(({ currency }) => currency);
  const addresses = config.listen.map((l) => (l.port === 0 ? undefined : `${l.transport}:${l.address}:${l.port}`));
  return [
    ...repeated(["listen"], addresses, "each address once"),
    ...(["services", "appServers", "tariffs", "taxes"] as const).flatMap((section) =>
      repeated(
        [section],
        config[section].map((thing) => thing.id),
        "an id of its own",
        "id",
      ),
    ),
    ...repeated(["rules"], rules, "a name of its own", "name"),
    ...repeated(["charging", "limits"], currencies, "each currency once", "currency"),
  ];
}

/** A relay that does not bill and a worker that only bills need a bus and a store that both can reach. */
export function roleMistakes({ roles, bus, store }: Config): Finding[] {
  if (roles.length === 2) return [];
  const [role] = roles;
  const found: Finding[] = [];
  if (bus === undefined)
    found.push({
      path: ["roles"],
      message: `expected relay and billing; found ${role} alone, which needs bus: nats://...`,
    });
  if (store === undefined)
    found.push({
      path: ["roles"],
      message: `expected relay and billing; found ${role} alone, which needs store: mongodb://... (the embedded one is of one machine)`,
    });
  return found;
}

const DAY_S = 86_400;
/** Of the shortest months in a row. */
const MONTH_DAYS = 28;

/** An event may come again from the bus. Its entry must still be in the store, else it is billed a second time. */
export function retentionMistakes({ bus, retention }: Config): Finding[] {
  if (bus === undefined) return [];
  const days = bus.maxAgeS / DAY_S;
  const found: Finding[] = [];
  const check = (name: keyof typeof retention, isDays: number, unit: string, least: number) => {
    if (retention[name] === undefined || isDays > days) return;
    const message = `expected ${least} ${unit} or more, since bus.maxAgeS keeps events for ${Math.ceil(days)} days; found ${retention[name]}`;
    found.push({ path: ["retention", name], message });
  };
  const months = Math.floor(days / MONTH_DAYS) + 1;
  check("entriesMonths", (retention.entriesMonths ?? 0) * MONTH_DAYS, "months", months);
  check("accountsDays", retention.accountsDays ?? 0, "days", Math.floor(days) + 1);
  return found;
}

function repeated(section: Path, names: readonly (string | undefined)[], expected: string, key?: string): Finding[] {
  const seen = new Set<string>();
  const found: Finding[] = [];
  for (const [i, name] of names.entries()) {
    if (name === undefined) continue;
    const path = key === undefined ? [...section, i] : [...section, i, key];
    if (seen.has(name)) found.push({ path, message: `expected ${expected}; found "${name}" a second time` });
    seen.add(name);
  }
  return found;
}

/** Names in the configuration that are neither in it nor in the store. */
export function danglingNames(config: Config, known: Known): Finding[] {
  const services = new Set([...config.services.map((s) => s.id), ...known.services.map((s) => s.id)]);
  const appServers = new Set([...config.appServers.map((s) => s.id), ...known.appServers.map((s) => s.id)]);
  const tariffs = new Set([...config.tariffs.map((t) => t.id), ...known.tariffs.map((t) => t.id)]);
  const found: Finding[] = [];
  const refer = (path: Path, name: string | undefined, ids: ReadonlySet<string>, what: string) => {
    if (name === undefined || ids.has(name)) return;
    const near = closest(name, [...ids]);
    const hint = near !== undefined ? `did you mean ${near}?` : `there is none of that name here or in the store`;
    found.push({ path, message: `expected the id of ${what}; found "${name}", ${hint}` });
  };
  for (const [i, service] of config.services.entries())
    refer(["services", i, "tariff"], service.tariff, tariffs, "a tariff");
  for (const [i, server] of config.appServers.entries()) {
    for (const [j, id] of server.services.entries()) refer(["appServers", i, "services", j], id, services, "a service");
    for (const [j, id] of (server.mayReferTo ?? []).entries())
      refer(["appServers", i, "mayReferTo", j], id, appServers, "an app server");
  }
  for (const [i, id] of (config.identity?.shaken?.appServers ?? []).entries())
    refer(["identity", "shaken", "appServers", i], id, appServers, "an app server");
  for (const [i, sink] of config.usage.entries())
    for (const [j, id] of (sink.services ?? []).entries())
      refer(["usage", i, "services", j], id, services, "a service");
  for (const [i, tax] of config.taxes.entries()) {
    for (const [j, id] of (tax.services ?? []).entries()) refer(["taxes", i, "services", j], id, services, "a service");
  }
  for (const [i, { then }] of config.rules.entries()) {
    const literal = then.service !== undefined && !/[{$]/.test(then.service);
    if (literal) refer(["rules", i, "then", "service"], then.service, services, "a service");
    refer(["rules", i, "then", "tariff"], then.tariff, tariffs, "a tariff");
    for (const [j, id] of (then.appServers ?? []).entries()) {
      refer(["rules", i, "then", "appServers", j], id, appServers, "an app server");
    }
  }
  return found;
}

/**
 * Limits and tariffs that meet in a service and are in different currencies. If file and store have the same id, the
 * file counts.
 */
export function currencyMistakes(config: Config, known: Known | undefined): Finding[] {
  const services = [...(known?.services ?? []), ...config.services];
  const tariffs = [...(known?.tariffs ?? []), ...config.tariffs];
  return currencyClashes({ services, tariffs, rules: config.rules }).map((clash) => clashFinding(config, clash));
}

/** The place in the file to correct. A service and a tariff that are both in the store meet only by a rule. */
function clashFinding(config: Config, { service, limits, tariff, currency, rule }: CurrencyClash): Finding {
  if (rule !== undefined)
    return {
      path: ["rules", rule, "then", "tariff"],
      message: `expected a tariff in ${limits}, the currency of the limits of ${service}; found "${tariff}", which is in ${currency}`,
    };
  const i = config.services.findIndex(({ id }) => id === service);
  if (i >= 0)
    return {
      path: ["services", i, "limits", "currency"],
      message: `expected ${currency}, the currency of its tariff ${tariff}; found "${limits}"`,
    };
  const j = config.tariffs.findIndex(({ id }) => id === tariff);
  return {
    path: j < 0 ? [] : ["tariffs", j, "currency"],
    message: `expected ${limits}, the currency of the limits of the service ${service} in the store; found "${currency}" in its tariff ${tariff}`,
  };
}
