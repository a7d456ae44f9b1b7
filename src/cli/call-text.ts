import { saidText } from "../calls/line.ts";
import { printable } from "../charging/bills/format.ts";
import type { CallDetail } from "../operations/calls.ts";

/** A call for people: what it was, why it went so, its messages, its charges. */
export function formatCall(record: CallDetail): string {
  const { id, kind, method, at, user, source, uri, rule, service, callId, call, within, asked = [] } = record;
  const lines = [
    `${kind === "change" ? `change by ${method}` : method} of ${user ?? "a stranger"}  ${iso(at)}`,
    field("reference", id),
    ...(call !== undefined && call !== id ? [field("call", call)] : []),
    ...(source === "" ? [] : [field("from", source)]),
    ...(uri === "" ? [] : [field("asked for", uri)]),
    ...(service === undefined ? [] : [field("service", service)]),
    ...(rule === undefined ? [] : [field("rule", rule)]),
    field("Call-ID", callId),
    ...(within ? [field("session", `${within.session} with ${within.appServer}`)] : []),
    ...asked.flatMap((one) => [
      field(
        "session",
        `${one.session} with ${one.appServer}${one.callId === undefined ? "" : `, Call-ID ${one.callId}`}`,
      ),
    ]),
    field("answer", answerOf(record)),
    ...(record.why === undefined ? [] : [field("why", record.why)]),
    ...asked.map((one) => field("app server", saidText(one))),
    field("ended", record.running ? "it runs" : `by ${record.endedBy}, after ${record.wholeMs} ms`),
    ...(record.cost === undefined ? [] : [field("cost", `${record.cost} without taxes`)]),
    "",
    ...ladderOf(record),
    ...(record.path.length > 0 ? ["", ...pathOf(record)] : []),
    ...chargesText(record),
  ];
  return `${lines.map(printable).join("\n")}\n`;
}

const iso = (at: number): string => new Date(at).toISOString();
const field = (name: string, text: string): string => `  ${name.padEnd(11)} ${text}`;

function answerOf({ status, reason, ringMs, answerMs }: CallDetail): string {
  const rang = ringMs === undefined ? "" : `, rang after ${ringMs} ms`;
  return status === undefined ? "none" : `${status} ${reason ?? ""} after ${answerMs ?? "?"} ms${rang}`;
}

/** The messages, the error answers marked. */
function ladderOf({ ladder }: CallDetail): string[] {
  const width = Math.max(0, ...ladder.map(({ from, to }) => from.length + to.length)) + 4;
  return ladder.map(
    ({ atMs, from, to, text, error }) =>
      `  ${String(atMs ?? "").padStart(8)} ms ${error ? "!" : " "} ${`${from} -> ${to}`.padEnd(width)}  ${text}`,
  );
}

function pathOf({ path }: CallDetail): string[] {
  const width = Math.max(...path.map(({ chart, event }) => chart.length + event.length)) + 3;
  return path.map(({ atMs, chart, event, from, to }) => {
    const move = to === from ? from : `${from} -> ${to}`;
    return `  ${String(atMs).padStart(8)} ms   ${`${chart}: ${event || "(always)"}`.padEnd(width)}  ${move}`;
  });
}

function chargesText({ charges }: CallDetail): string[] {
  if (charges.length === 0) return [];
  return [
    "",
    "  on the bill",
    ...charges.map((entry) => {
      const what =
        entry.kind === "item" ? `${entry.item} x ${entry.quantity}` : entry.kind === "time" ? "time" : entry.reason;
      return `    ${iso(entry.at)}  ${what}  ${entry.amount} ${entry.currency}`;
    }),
  ];
}
