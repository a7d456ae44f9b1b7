import type { Timed } from "../../calls/time-log.ts";

/** A charge that an app server asked for and did not get. It is on no bill; it is kept for people to look at. */
export interface RefusedCharge extends Timed {
  readonly call: string;
  readonly session: string;
  readonly user: string;
  readonly service: string;
  readonly appServer: string;
  /** The charge's own id, where it could be read. */
  readonly charge?: string;
  readonly reason: string;
}
