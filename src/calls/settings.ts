/** How long, and how many, records are kept. */
export interface CallSettings {
  readonly keepDays: number;
  readonly keepMost: number;
  /** The same for requests that were refused before anybody had signed in. */
  readonly keepStrangers: number;
}
