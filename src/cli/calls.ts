import type { Command } from "commander";
import type { CallQuery } from "../calls/find.ts";
import { findCalls } from "../calls/find.ts";
import type { CallRecord } from "../calls/record.ts";
import type { Entry } from "../charging/billing/store.ts";
import type { Config } from "../config/schema.ts";
import { askControl, controlPath } from "../console/control.ts";
import { formatCall } from "./call-text.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";

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
  program
    .command("calls")
    .description("list what became of requests: who asked for what, what was answered, who ended it")
    .option("--call-id <id>", "the call with that Call-ID, on whichever side")
    .option("--user <id>", "calls of that user")
    .option("--failed", "those that were refused, or came to nothing; not those that their caller gave up")
    .option("--since <time>", "those that ended, or run, since then: 30s, 10m, 2h, 3d, or 2026-01-31T12:00:00Z")
    .option("--strangers", "requests that were refused before anybody had signed in, in place of calls of users")
    .option("--most <number>", "the newest so many", "50")
    .option("--json", "as JSON, with everything that is known")
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
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const query = queryOf(options);
      const calls = await callsOf(config, query);
      if (options.json) io.out(`${JSON.stringify(calls, null, 2)}\n`);
      else if (calls.length === 0) io.out(noneText(options));
      else io.out(table(COLUMNS, calls.map(row)));
    });

  program
    .command("call")
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
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const query = { any: id, most: 20 };
      let calls = await callsOf(config, { ...query, strangers: false });
      if (calls.length === 0) calls = await callsOf(config, { ...query, strangers: true });
      if (calls.length === 0)
        throw new CliError(`no call has the id ${id}, or its record is no longer kept; see: tollgate calls`);
      const charges = await chargesOf(config, calls);
      if (options.json) io.out(`${JSON.stringify({ calls, charges }, null, 2)}\n`);
      else io.out(calls.map((call) => formatCall(call, charges)).join("\n"));
    });
}

/** Asks the relay that runs on the data folder, which knows more; without one, the store. */
async function callsOf(config: Config, query: CallQuery): Promise<CallRecord[]> {
  const answer = await askControl(controlPath(config.data), "POST", "/calls", query);
  if (answer.ok) return answer.value as CallRecord[];
  if (!answer.error.absent) throw new CliError(`the relay on ${config.data} does not answer: ${answer.error.message}`);
  return withStore(config, (store) => findCalls(store.calls, [], query));
}

/** What the store has on bills for the sessions of these calls. */
async function chargesOf(config: Config, calls: readonly CallRecord[]): Promise<Entry[]> {
  const sessions = calls.flatMap(({ asked = [] }) =>
    asked.flatMap((one) => (one.clockMs === undefined ? [] : one.session)),
  );
  if (sessions.length === 0) return [];
  return withStore(config, async (store) => {
    const entries: Entry[] = [];
    for (const session of new Set(sessions)) entries.push(...(await store.billing.entriesOf(session)));
    return entries.sort((a, b) => a.at - b.at);
  });
}

function queryOf({ callId, user, failed, since, strangers, most }: CallsOptions): CallQuery {
  const number = Number(most);
  if (!Number.isInteger(number) || number < 1 || number > MOST)
    throw new CliError(`--most: expected a number from 1 to ${MOST}; found ${most}`, EXIT.usage);
  return {
    most: number,
    strangers: strangers === true,
    ...(callId !== undefined && { callId }),
    ...(user !== undefined && { user }),
    ...(failed && { failed }),
    ...(since !== undefined && { since: sinceOf(since) }),
  };
}

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration back from now, or a time of day. */
function sinceOf(text: string): number {
  const [, number, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const at = number === undefined ? Date.parse(text) : Date.now() - Number(number) * UNITS[unit!]!;
  if (Number.isNaN(at))
    throw new CliError(
      `--since: expected 30s, 10m, 2h, 3d or a time such as 2026-01-31T12:00:00Z; found ${text}`,
      EXIT.usage,
    );
  return Math.max(0, at);
}

const noneText = ({ strangers, failed }: CallsOptions): string =>
  strangers ? "no requests of strangers\n" : failed ? "no calls failed\n" : "no calls\n";

const COLUMNS = ["SINCE", "RECORD", "WHAT", "USER", "SERVICE", "ANSWER", "ENDED BY", "WHOLE", "COST", "WHY"];

function row(record: CallRecord): string[] {
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
function whyOf({ status = 0, why, rule, asked = [], uri }: CallRecord): string {
  if (status < 300) return "";
  if (why !== undefined) return why;
  const said = asked.map((one) => `${one.appServer}: ${one.why ?? `${one.status ?? "-"} ${one.reason ?? ""}`}`);
  if (said.length > 0) return said.join("; ");
  return rule === undefined ? uri : `rule ${rule}`;
}

const seconds = (ms: number): string => (ms < 10_000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);
