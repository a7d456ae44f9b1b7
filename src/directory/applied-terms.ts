import { type SettlementTerms, settlementFor } from "../charging/money/settlement-terms.ts";
import { type Tax, taxesOn } from "../charging/money/tax.ts";
import type { AppliedTax, Terms } from "../charging/money/terms.ts";
import type { AppServer, Service } from "./types.ts";

/** Where terms come from: the configuration, and the registered services and app servers. */
export interface TermsSources {
  readonly taxes: readonly Tax[];
  readonly settlement: SettlementTerms;
  service(id: string): Service | undefined;
  appServer(id: string): AppServer | undefined;
}

/**
 * The terms that hold now; when the directory is loaded again, a new object takes the place of this one. Terms are
 * worked out once for each service and app server, and then the same object is returned each time. So a caller can
 * compare objects to see whether its terms still hold.
 */
export class AppliedTerms {
  private readonly sources: TermsSources;
  private readonly byService = new Map<string, readonly AppliedTax[] | undefined>();
  private readonly byBoth = new Map<string, Map<string, Terms | undefined>>();

  constructor(sources: TermsSources) {
    this.sources = sources;
  }

  /** The taxes on a service; undefined: none. */
  taxes(service: string): readonly AppliedTax[] | undefined {
    if (this.byService.has(service)) return this.byService.get(service);
    const taxes = taxesOn(service, this.sources.taxes);
    if (this.sources.service(service)) this.byService.set(service, taxes);
    return taxes;
  }

  /** The terms for a service at an app server; undefined: no taxes, and nothing was agreed. */
  terms(service: string, appServer: string): Terms | undefined {
    let ofService = this.byBoth.get(service);
    if (ofService?.has(appServer)) return ofService.get(appServer);
    const terms = this.workOut(service, appServer);
    // Terms for ids that are not registered (any more) are not kept: such ids must not fill the memory.
    if (!this.sources.service(service) || !this.sources.appServer(appServer)) return terms;
    ofService ??= new Map();
    this.byBoth.set(service, ofService.set(appServer, terms));
    return terms;
  }

  private workOut(service: string, appServer: string): Terms | undefined {
    const taxes = this.taxes(service);
    const { sources } = this;
    const agreed = settlementFor([sources.appServer(appServer), sources.service(service), sources.settlement]);
    return taxes || agreed ? { ...(taxes && { taxes }), ...agreed } : undefined;
  }
}

/** The same terms with other taxes. */
export function withTaxes(terms: Terms | undefined, taxes: readonly AppliedTax[] | undefined): Terms | undefined {
  if (terms?.taxes === taxes) return terms;
  const { taxes: _taxes, ...agreed } = terms ?? {};
  const all = taxes ? { taxes, ...agreed } : agreed;
  return Object.keys(all).length > 0 ? all : undefined;
}
