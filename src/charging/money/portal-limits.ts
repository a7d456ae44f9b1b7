import { compareDecimals } from "./money.ts";

/**
 * The most that an app server may charge: at once, in a session, and one user in this service within a UTC day.
 * Decimal strings.
 */
export interface ServiceLimits {
  readonly charge?: string;
  readonly session?: string;
  readonly day?: string;
  /** ISO 4217. */
  readonly currency: string;
}

/**
 * What holds for a service that says nothing, in euros: what nobody sells in one go, so that a slip or an attack does
 * not reach a bill.
 */
const IN_EUROS = { charge: 1_000, session: 5_000, day: 10_000 } as const;

/**
 * Currencies whose unit is worth much less than a euro (or more: below 0), by the power of ten that makes about a
 * euro of them. It need be no more exact than that: it says what is beyond all reason, not what something costs.
 */
const POWERS_OF_TEN: readonly (readonly [power: number, codes: string])[] = [
  [-2, "CLF"],
  [
    1,
    "AED BOB BRL BWP BYN CNY COU CUP CZK DKK ERN GHS GTQ HKD HNL HRK ILS LSL LYD MAD MDL MOP MVR MXN MYR NAD NOK PEN PGK PLN QAR RON SAR SBD SCR SEK SLE STN SVC SZL TJS TMT TND TTD UAH UYI UYW ZAR ZMW ZWG",
  ],
  [
    2,
    "AFN ALL BDT BTN CVE DJF DOP DZD EGP ETB GMD GYD HTG INR ISK JMD JPY KES KGS LKR LRD MKD MRU MUR MZN NIO NPR PHP PKR RSD RUB SRD THB TRY TWD UYU VED VUV XPF",
  ],
  [3, "AMD AOA ARS CDF CLP CRC HUF IQD KMF KPW KRW KZT MMK MWK NGN RWF SDG SOS TZS VES XAF XOF YER"],
  [4, "BIF COP GNF IDR KHR LAK MGA MNT PYG SLL SSP SYP UGX UZS VND"],
  [5, "LBP"],
  [6, "IRR ZWL"],
];
const POWER = new Map(
  POWERS_OF_TEN.flatMap(([power, codes]) => codes.split(" ").map((code) => [code, power] as const)),
);

/** Limits with nothing left open. */
export type WholeLimits = Required<ServiceLimits>;

/**
 * What app servers may charge where a service does not say: the operator's own for a currency, or what holds without.
 */
export class PortalLimits {
  private readonly configured: ReadonlyMap<string, ServiceLimits>;

  constructor(configured: readonly ServiceLimits[] = []) {
    this.configured = new Map(configured.map((limits) => [limits.currency, limits]));
  }

  for(currency: string): WholeLimits {
    const by = 10 ** (POWER.get(currency) ?? 0);
    const { charge, session, day } = IN_EUROS;
    const built = { charge: String(charge * by), session: String(session * by), day: String(day * by), currency };
    return completed(this.configured.get(currency), built);
  }
}

/**
 * What is left open is as `others` have it, but never less than what is said: whoever allows 9,000 a session allows
 * as much a day.
 */
export function completed(limits: ServiceLimits | undefined, others: WholeLimits): WholeLimits {
  if (limits === undefined) return others;
  const { currency } = others;
  const said = [limits.charge, limits.session, limits.day].filter((one) => one !== undefined);
  const open = (other: string) => said.reduce((most, one) => (compareDecimals(one, most) > 0 ? one : most), other);
  return {
    charge: limits.charge ?? open(others.charge),
    session: limits.session ?? open(others.session),
    day: limits.day ?? open(others.day),
    currency,
  };
}
