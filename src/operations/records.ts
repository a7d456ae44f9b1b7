import { z } from "zod";
import { printable } from "../charging/bills/format.ts";
import { type BrokenRecord, callRecords, writeRecords } from "../charging/bills/records.ts";
import { OperationError } from "./mistake.ts";
import { theMonth } from "./months.ts";
import { operation } from "./operation.ts";

/** Of one answer; the command on the machine writes piece by piece, as much as there is. */
const MOST_CHARS = 64_000_000;
const MOST_NAMED = 20;

const time = z.string().max(40);

export const exportRecords = operation({
  id: "exportRecords",
  method: "GET",
  path: "/v1/records",
  summary: "Call detail records: one for each session that has ended, in the order of their starts",
  right: "see-money",
  personal: true,
  file: true,
  input: z.strictObject({
    month: z.string().max(16).optional().describe("In UTC; default: this one."),
    from: time.optional().describe("In place of the month: started then or later, such as 2026-01-05."),
    to: time.optional().describe("And before this time; default: now."),
    format: z.enum(["csv", "jsonl"]).default("csv"),
    leaveOut: z.boolean().optional().describe("Leave out sessions of which no record can be made, in place of 409."),
  }),
  output: z.string(),
  async run({ store, now }, { format, leaveOut, ...given }) {
    const { from, to } = periodOf(given, now());
    const broken: BrokenRecord[] = [];
    const onBroken = (one: BrokenRecord) => void broken.push(one);
    let content = "";
    for await (const part of writeRecords(callRecords(store.billing, from, to, onBroken), format)) {
      content += part;
      if (content.length > MOST_CHARS) throw new OperationError("refused", "too many records: ask for a shorter time");
    }
    if (broken.length > 0 && !leaveOut) {
      const named = broken.slice(0, MOST_NAMED).map(({ session, reason }) => printable(`${session}: ${reason}`));
      throw new OperationError("refused", `of ${broken.length} sessions no record can be made: ${named.join("; ")}`);
    }
    const type = format === "csv" ? "text/csv; charset=utf-8" : "application/x-ndjson; charset=utf-8";
    return { type, name: `records.${format}`, content };
  },
});

interface Period {
  readonly month?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

/** Milliseconds since 1970. */
export function periodOf({ month, from, to }: Period, now: number): { readonly from: number; readonly to: number } {
  if (month !== undefined && (from !== undefined || to !== undefined))
    throw new OperationError("usage", "a month, or from and to");
  if (from === undefined) {
    if (to !== undefined) throw new OperationError("usage", "from when?", { field: "to" });
    const [year, number] = theMonth(month, now).split("-").map(Number);
    return { from: Date.UTC(year!, number! - 1), to: Date.UTC(year!, number!) };
  }
  const times = { from: timeIn("from", from), to: to === undefined ? now : timeIn("to", to) };
  if (times.from >= times.to) throw new OperationError("usage", "expected a time before `to`", { field: "from" });
  return times;
}

/** Dates and times without a zone are UTC, as months are. */
function timeIn(field: string, text: string): number {
  const read = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})?)?$/.exec(text);
  const at = read ? Date.parse(read[1] !== undefined && read[4] === undefined ? `${text}Z` : text) : Number.NaN;
  if (!Number.isNaN(at)) return at;
  throw new OperationError("usage", `expected a time such as 2026-01-05; found "${text}"`, { field });
}
