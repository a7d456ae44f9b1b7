/** An event that cannot be billed, with the reason. It is put aside, so that it does not hold up others. */
export interface DeadLetter {
  readonly id: string;
  readonly at: number;
  readonly reason: string;
  /** The event as JSON text. */
  readonly event: string;
  /** No relay has signed it: anybody may have made it. */
  readonly untrusted?: true;
}
