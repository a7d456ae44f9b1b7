/**
 * Digits of the minor unit in ISO 4217, where they are not 2. Not taken from `Intl`: ICU has other digits for some
 * (HUF, IDR, COP and IQD have 0 there), and a Node release with other ICU data must not round a bill differently.
 */
const DIGITS = new Map<string, number>();
for (const code of "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(" "))
  DIGITS.set(code, 0);
for (const code of "BHD IQD JOD KWD LYD OMR TND".split(" ")) DIGITS.set(code, 3);
for (const code of "CLF UYW".split(" ")) DIGITS.set(code, 4);

/**
 * Codes of ISO 4217: present money, former money, and units in which prices are named (such as CLF). Not taken from
 * `Intl` either: it lacks some, and a Node release that drops one must not make old bills unreadable. Metals and test
 * codes are left out, since nobody is billed in them.
 */
const KNOWN = new Set(
  (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF " +
    "CLP CNY COP CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL " +
    "HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD " +
    "MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR " +
    "RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD " +
    "TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL " +
    "BOV CHE CHW CLF COU MXV USN UYI UYW"
  ).split(" "),
);

/** True for an ISO 4217 code that something can be billed in. */
export function isCurrency(code: string): boolean {
  return KNOWN.has(code);
}

/** Decimal places of the currency's minor unit (ISO 4217): 2 for EUR, 0 for JPY, 3 for KWD. */
export function minorDigits(currency: string): number {
  return DIGITS.get(currency) ?? 2;
}
