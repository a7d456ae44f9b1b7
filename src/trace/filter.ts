import type { OpenRecord } from "../calls/open-record.ts";

/** Which calls are watched or traced. Every condition that is given must hold; none: all calls of users. */
export interface CallFilter {
  readonly user?: string;
  readonly service?: string;
  /** Of either side. */
  readonly callId?: string;
  /** One call in so many. */
  readonly sample?: number;
}

/** What is watched: which calls, and whether with whole messages. */
export interface WatchQuery {
  readonly filter: CallFilter;
  readonly full: boolean;
  /** The id of a record: of that call alone. */
  readonly call?: string | undefined;
}

/** Whether a call is meant, as far as is known by now; `undefined`: not known yet. */
export function matches({ user, service, callId }: CallFilter, record: OpenRecord): boolean | undefined {
  if (callId !== undefined && !hasCallId(record, callId)) return record.hasEnded ? false : undefined;
  if (user !== undefined && record.user !== user) return record.user === "" ? undefined : false;
  if (service !== undefined && record.service !== service) return record.service === "" ? undefined : false;
  return record.user === "" ? undefined : true;
}

const hasCallId = (record: OpenRecord, callId: string): boolean =>
  record.ofCallId === callId || record.branches.some((branch) => branch.ofCallId === callId);
