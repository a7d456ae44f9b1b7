/** Exact money: `units` × 10^-`scale` of an ISO 4217 currency. Never a float (DESIGN.md, decision 10). */
export interface Money {
  readonly units: bigint;
  readonly scale: number;
  readonly currency: string;
}
