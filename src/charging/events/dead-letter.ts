/** An event that nobody can bill, with the reason: put aside, so that it holds nothing else up. */
export interface DeadLetter {
  readonly id: string;
  readonly at: number;
  readonly reason: string;
  /** The event as JSON text. */
  readonly event: string;
  /** No relay has signed it: anybody may have made it. */
  readonly untrusted?: true;
}
