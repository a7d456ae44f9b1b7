import { saidText } from "../calls/line.ts";
import type { CallRecord, Kept } from "../calls/record.ts";
import { stepsOf } from "../calls/steps.ts";
import type { Entry } from "../charging/billing/store.ts";
import { printable } from "../charging/bills/format.ts";

/** A call for people: what it was, why it went so, its messages, its charges. */
export function formatCall(record: CallRecord, charges: readonly Entry[]): string {
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
    ...(record.kept ? keptLadder(record.kept) : ladderOf(record)),
    ...(record.kept && record.kept.states.length > 0 ? ["", ...statesOf(record.kept)] : []),
    ...chargesText(record, charges),
  ];
  return `${lines.map(printable).join("\n")}\n`;
}

const iso = (at: number): string => new Date(at).toISOString();
const field = (name: string, text: string): string => `  ${name.padEnd(11)} ${text}`;

function answerOf({ status, reason, ringMs, answerMs }: CallRecord): string {
  const rang = ringMs === undefined ? "" : `, rang after ${ringMs} ms`;
  return status === undefined ? "none" : `${status} ${reason ?? ""} after ${answerMs ?? "?"} ms${rang}`;
}

function ladderOf(record: CallRecord): string[] {
  const steps = stepsOf(record);
  const width = Math.max(...steps.map(({ from, to }) => from.length + to.length)) + 4;
  return steps.map(
    ({ atMs, from, to, text }) =>
      `  ${String(atMs ?? "").padStart(8)} ms  ${`${from} -> ${to}`.padEnd(width)}  ${text}`,
  );
}

/** The messages as they were seen, the error answers marked. */
function keptLadder({ messages }: Kept): string[] {
  const width = Math.max(0, ...messages.map(([, from, to]) => from.length + to.length)) + 4;
  return messages.map(([atMs, from, to, text]) => {
    const mark = /^[3-6]\d\d /.test(text) ? "!" : " ";
    return `  ${String(atMs).padStart(8)} ms ${mark} ${`${from} -> ${to}`.padEnd(width)}  ${text}`;
  });
}

function statesOf({ states }: Kept): string[] {
  const width = Math.max(...states.map(([, chart, event]) => chart.length + event.length)) + 3;
  return states.map(([atMs, chart, event, from, to]) => {
    const move = to === from ? from : `${from} -> ${to}`;
    return `  ${String(atMs).padStart(8)} ms   ${`${chart}: ${event || "(always)"}`.padEnd(width)}  ${move}`;
  });
}

function chargesText({ asked = [] }: CallRecord, charges: readonly Entry[]): string[] {
  const own = charges.filter(({ session }) => asked.some((one) => one.session === session));
  if (own.length === 0) return [];
  return [
    "",
    "  on the bill",
    ...own.map((entry) => {
      const what =
        entry.kind === "item" ? `${entry.item} x ${entry.quantity}` : entry.kind === "time" ? "time" : entry.reason;
      return `    ${iso(entry.at)}  ${what}  ${entry.amount} ${entry.currency}`;
    }),
  ];
}
