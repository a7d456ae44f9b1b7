import type { Tariff } from "../charging/money/tariff.ts";
import type { Rule, Service } from "./types.ts";

/** Everything that names a currency, from the store and the configuration. */
export interface Priced {
  readonly services: readonly Pick<Service, "id" | "tariff" | "limits">[];
  readonly tariffs: readonly Pick<Tariff, "id" | "currency">[];
  readonly rules: readonly Pick<Rule, "then">[];
}

/**
 * A service whose limits are in another currency than its tariff, or than the tariff that a rule gives it. There is no
 * exchange rate to compare them by, so its app servers could charge nothing.
 */
export interface CurrencyClash {
  readonly service: string;
  /** The currency of its limits. */
  readonly limits: string;
  readonly tariff: string;
  /** The currency of the tariff. */
  readonly currency: string;
  /** The number of the rule that brings the two together; undefined: the service names the tariff itself. */
  readonly rule?: number;
}

/**
 * The clashes that may happen, since a rule gives a tariff to services that it does not name. At most one for each
 * rule.
 */
export function possibleClashes({ services, tariffs, rules }: Priced): CurrencyClash[] {
  const limited = services.filter(({ limits }) => limits !== undefined);
  const isNamed = ({ then }: Priced["rules"][number]) => then.service !== undefined && !/[{$]/.test(then.service);
  return rules.flatMap((rule, i) => {
    if (rule.then.tariff === undefined || isNamed(rule)) return [];
    const named = limited.map((service) => ({ ...service, tariff: rule.then.tariff! }));
    const [first] = currencyClashes({ services: named, tariffs, rules: [] });
    return first ? [{ ...first, rule: i }] : [];
  });
}

/** The clashes that are certain. If several services have one id, the last counts. */
export function currencyClashes({ services, tariffs, rules }: Priced): CurrencyClash[] {
  const byId = new Map(services.map((service) => [service.id, service]));
  const currencies = new Map(tariffs.map(({ id, currency }) => [id, currency]));
  const found: CurrencyClash[] = [];
  const compare = (service: Priced["services"][number] | undefined, tariff: string | undefined, rule?: number) => {
    const [limits, currency] = [service?.limits?.currency, tariff === undefined ? undefined : currencies.get(tariff)];
    if (limits === undefined || currency === undefined || limits === currency) return;
    found.push({ service: service!.id, limits, tariff: tariff!, currency, ...(rule !== undefined && { rule }) });
  };
  for (const service of byId.values()) compare(service, service.tariff);
  for (const [i, { then }] of rules.entries()) {
    // A rule without a service may be for any, and a placeholder is filled only later: `possibleClashes` looks at
    // those.
    if (then.service !== undefined && then.tariff !== undefined) compare(byId.get(then.service), then.tariff, i);
  }
  return found;
}
