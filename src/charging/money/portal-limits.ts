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
 * The built-in limits, in euros, for a service without limits of its own. They are more than anybody sells, and keep
 * slips and attacks off the bill.
 */
const IN_EUROS = { charge: 1_000, session: 5_000, day: 10_000 } as const;

/**
 * Currencies whose unit is worth much less than a euro, or much more: below 0. `power` is the power of ten that makes
 * about a euro of the unit. Rough values are enough: the limits only stop what is beyond all reason.
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

/** Limits in which every value is set. */
export type WholeLimits = Required<ServiceLimits>;

/** The limits for services without limits of their own: the operator's for a currency, or the built-in ones. */
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
 * Fills in limits that are not set from `others`, but never with less than a limit that is set: a limit of 9,000 a
 * session allows at least 9,000 a day.
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
