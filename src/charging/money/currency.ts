/**
 * Minor units of ISO 4217, where they are not 2. Not asked of `Intl`: ICU gives other digits for some (HUF, IDR, COP and IQD
 * have 0 there), and a Node release with other ICU data must not round a bill differently.
 */
const DIGITS = new Map<string, number>();
for (const code of "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(" "))
  DIGITS.set(code, 0);
for (const code of "BHD IQD JOD KWD LYD OMR TND".split(" ")) DIGITS.set(code, 3);
for (const code of "CLF UYW".split(" ")) DIGITS.set(code, 4);

/** Codes of ISO 4217 that older ICU data does not list. */
const NEWER = ["SLE", "VED", "XCG", "ZWG"];

/** Metals, units of account and test codes: nobody is billed in them, and ISO 4217 gives them no minor unit. */
const NOT_MONEY = new Set("XAG XAU XBA XBB XBC XBD XDR XPD XPT XSU XTS XUA XXX".split(" "));

const KNOWN = new Set([...Intl.supportedValuesOf("currency"), ...NEWER].filter((code) => !NOT_MONEY.has(code)));

/** True for an ISO 4217 code that something can be billed in. */
export function isCurrency(code: string): boolean {
  return KNOWN.has(code);
}

/** Decimal places of the currency's minor unit (ISO 4217): 2 for EUR, 0 for JPY, 3 for KWD. */
export function minorDigits(currency: string): number {
  return DIGITS.get(currency) ?? 2;
}
