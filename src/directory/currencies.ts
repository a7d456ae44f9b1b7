import type { Tariff } from "../charging/money/tariff.ts";
import type { Rule, Service } from "./types.ts";

/** What currencies stand in, wherever it is registered. */
export interface Priced {
  readonly services: readonly Pick<Service, "id" | "tariff" | "limits">[];
  readonly tariffs: readonly Pick<Tariff, "id" | "currency">[];
  readonly rules: readonly Pick<Rule, "then">[];
}

/**
 * A service whose limits are in another currency than the tariff that it has, or that a rule gives it: there is no
 * rate to compare by, so that its app servers could charge nothing.
 */
export interface CurrencyClash {
  readonly service: string;
  /** Of its limits. */
  readonly limits: string;
  readonly tariff: string;
  /** Of the tariff. */
  readonly currency: string;
  /** The number of the rule that brings the two together; undefined: the service names the tariff itself. */
  readonly rule?: number;
}

/** Those that there may be: a rule gives a tariff to services that it does not name. One for each rule. */
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

/** Those that there are; of one id the last counts. */
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
    // A rule that names no service may be for any; a placeholder is filled later.
    if (then.service !== undefined && then.tariff !== undefined) compare(byId.get(then.service), then.tariff, i);
  }
  return found;
}
