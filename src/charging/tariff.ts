/**
 * What a session's time costs (M13). Amounts are decimal strings ("0.25") in the tariff's currency, so that JSON and YAML carry them exactly.
 */
export interface Tariff {
  readonly id: string;
  /** ISO 4217. */
  readonly currency: string;
  /** Charged once when the session is established. Default "0". */
  readonly setupFee?: string;
  /** Price of each begun increment. Default "0". */
  readonly price?: string;
  /** Length of an increment in seconds; default 60. Each begun increment counts. */
  readonly incrementS?: number;
  /** Seconds at the start that cost nothing; default 0. */
  readonly freeS?: number;
  /** Least and greatest amount of time charges for a session. */
  readonly minimum?: string;
  readonly cap?: string;
  /** How the sum is rounded to the currency's minor unit; default "half-up". */
  readonly rounding?: "half-up" | "half-even" | "up" | "down";
}
