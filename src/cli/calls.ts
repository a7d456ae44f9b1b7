import type { Command } from "commander";
import { type ListedCall, listCalls, showCall } from "../operations/calls.ts";
import { ask } from "./ask.ts";
import { formatCall } from "./call-text.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";
import { sayMissing } from "./missing.ts";
import { remotely } from "./remote.ts";

interface CallsOptions {
  readonly callId?: string;
  readonly user?: string;
  readonly failed?: boolean;
  readonly since?: string;
  readonly strangers?: boolean;
  readonly most: string;
  readonly json?: boolean;
}

const MOST = 100_000;

/** `tollgate calls` and `tollgate call`. */
export function addCallsCommands(program: Command, io: Io): void {
  remotely(program.command("calls"))
    .description("list what became of requests: who asked for what, what was answered, who ended it")
    .option("--call-id <id>", "the call with that Call-ID, on whichever side, also of a stranger")
    .option("--user <id>", "calls of that user")
    .option("--failed", "those that were refused, or came to nothing; not those that their caller gave up")
    .option("--since <time>", "those that ended, or run, since then: 30s, 10m, 2h, 3d, or 2026-01-31T12:00:00Z")
    .option("--strangers", "requests that were refused before anybody had signed in, in place of calls of users")
    .option("--most <number>", "the newest so many", "50")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      `
Calls that run are listed too. WHOLE is how long all of it took. COST is what the session's book says, without taxes.
Works whether a relay runs or not: records are in the store. The setting calls says how long they are kept.

Examples:
  $ tollgate calls --failed --since 10m
  $ tollgate calls --user alice
  $ tollgate calls --call-id 3848276298220188511@client.example
  $ tollgate call 4f1c2a`,
    )
    .action(async (options: CallsOptions, command: Command) => {
      const { callId, user, failed, since, strangers, most } = options;
      const calls = await callsOf(io, command, { callId, user, failed, since, strangers }, mostOf(most));
      if (options.json) io.out(`${JSON.stringify(calls, null, 2)}\n`);
      else if (calls.length === 0) io.out(noneText(options));
      else io.out(table(COLUMNS, calls.map(row)));
    });

  remotely(program.command("call"))
    .description("show one call: why it went as it did, its messages, its chart, its charges")
    .argument("<id>", "the reference in the answer to the client, a session's id, or a Call-ID")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      `
The id may be the first 6 characters or more of a record's id.

Examples:
  $ tollgate call 4f1c2a
  $ tollgate call 0mx043jxg2128f86d22623ceac3f1
  $ tollgate call 3848276298220188511@client.example`,
    )
    .action(async (id: string, options: { json?: boolean }, command: Command) => {
      const { calls, missing } = await ask(io, command, showCall, { id });
      sayMissing(io, missing, RUNNING_MISSING);
      if (options.json) io.out(`${JSON.stringify({ calls }, null, 2)}\n`);
      else io.out(calls.map(formatCall).join("\n"));
    });
}

const RUNNING_MISSING = "calls that run there are not listed";
/** So many are asked for at once. */
const PAGE = 500;

/** The newest so many, the oldest of them first. */
async function callsOf(io: Io, command: Command, query: object, most: number): Promise<ListedCall[]> {
  const calls: ListedCall[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await ask(io, command, listCalls, { ...query, most: Math.min(PAGE, most - calls.length), cursor });
    if (cursor === undefined) sayMissing(io, page.missing, RUNNING_MISSING);
    calls.push(...page.calls);
    cursor = page.next;
    if (cursor === undefined || calls.length >= most) break;
  }
  return calls.sort((a, b) => a.at - b.at);
}

function mostOf(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1 && number <= MOST) return number;
  throw new CliError(`--most: expected a number from 1 to ${MOST}; found ${text}`, EXIT.usage);
}

const noneText = ({ strangers, failed }: CallsOptions): string =>
  strangers ? "no requests of strangers\n" : failed ? "no calls failed\n" : "no calls\n";

const COLUMNS = ["SINCE", "RECORD", "WHAT", "USER", "SERVICE", "ANSWER", "ENDED BY", "WHOLE", "COST", "WHY"];

function row(record: ListedCall): string[] {
  const { id, kind, method, user, at, service, status, reason, endedBy, wholeMs, cost, running } = record;
  return [
    new Date(at).toISOString().replace("T", " ").slice(0, 23),
    id.slice(0, 8),
    kind === "change" ? `change (${method})` : method,
    user ?? `- ${record.source}`,
    service ?? "-",
    status === undefined ? "-" : `${status} ${reason ?? ""}`,
    running ? "(runs)" : (endedBy ?? "-"),
    seconds(wholeMs),
    cost ?? "-",
    whyOf(record),
  ];
}

/** In one line why a call failed; "" where it did not. */
function whyOf({ status = 0, why, rule, asked = [], uri }: ListedCall): string {
  if (status < 300) return "";
  if (why !== undefined) return why;
  const said = asked.map((one) => `${one.appServer}: ${one.why ?? `${one.status ?? "-"} ${one.reason ?? ""}`}`);
  if (said.length > 0) return said.join("; ");
  return rule === undefined ? uri : `rule ${rule}`;
}

const seconds = (ms: number): string => (ms < 10_000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);
