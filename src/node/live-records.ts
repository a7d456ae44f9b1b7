import type { OpenRecord } from "../calls/open-record.ts";
import type { Core } from "../relay/model/core.ts";

/** The records of all requests and sessions that are under way. */
export function liveRecords({ requests, sessions }: Pick<Core, "requests" | "sessions">): Set<OpenRecord> {
  const live = new Set<OpenRecord>();
  for (const { record } of requests.values()) if (record) live.add(record);
  for (const { branch } of sessions.values()) if (branch) live.add(branch.record);
  return live;
}
