import type { CallRecord } from "../calls/record.ts";

/**
 * The record of a request that has ended, as CloudEvents JSON text (CloudEvents 1.0.2 §3.1). It is told once, to those
 * who listen just then: no bill depends on it.
 */
export function callEvent(record: CallRecord, source: string): string {
  return JSON.stringify({
    specversion: "1.0",
    id: `call:${record.id}`,
    source,
    type: "tollgate.call.ended",
    subject: record.call ?? record.id,
    time: new Date(record.at + record.wholeMs).toISOString(),
    datacontenttype: "application/json",
    data: record,
  });
}
