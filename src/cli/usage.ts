import type { Command } from "commander";
import { showUsage } from "../operations/running.ts";
import {
  dropUsageLetter,
  listUsageLetters,
  resend,
  resendUsage,
  showUsageLetter,
} from "../operations/usage-letters.ts";
import type { SinkStatus } from "../usage/usage.ts";
import { ask, locally } from "./ask.ts";
import { CliError, type Io, table } from "./io.ts";
import { remotely, remoteOf } from "./remote.ts";

const PAGE = 200;

/** `tollgate usage`: how usage comes to those who meter and bill, and what did not. */
export function addUsageCommands(program: Command, io: Io): void {
  const group = program
    .command("usage")
    .description("usage that is sent by HTTP (setting usage): how far behind it is, and what was not taken");
  remotely(group.command("status"))
    .description("how each endpoint is doing, as the relay that runs on this data folder sees it")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      `
WAITING is how many events are not sent yet, OLDEST how old the first of them is (known without NATS only). SENT,
FAILED (and tried again), ASIDE (tollgate usage list) and LOST (too many were waiting) count since the relay's start; in
a cluster, what this node did.

Example:
  $ tollgate usage status`,
    )
    .action(async (options: { json?: boolean }, command: Command) => {
      const { sinks } = await ask(io, command, showUsage, {});
      if (options.json) io.out(`${JSON.stringify(sinks, null, 2)}\n`);
      else if (sinks.length > 0) io.out(table(COLUMNS, sinks.map(row)));
      else io.out("usage is not sent from here: the setting usage says where to, and roles has to have billing\n");
    });

  remotely(group.command("list"))
    .description("list the events that were put aside, with the reason of each")
    .option("--sink <id>", "those of one endpoint")
    .option("--json", "as JSON lines")
    .action(async (options: { sink?: string; json?: boolean }, command: Command) => {
      const rows: string[][] = [];
      for (let after: string | undefined; ; ) {
        const { letters, next } = await ask(io, command, listUsageLetters, { sink: options.sink, after, most: PAGE });
        for (const letter of letters) {
          if (options.json) io.out(`${JSON.stringify(letter)}\n`);
          else rows.push([letter.id, new Date(letter.at).toISOString(), letter.reason]);
        }
        if (next === undefined) break;
        after = next;
      }
      if (!options.json) io.out(rows.length === 0 ? "nothing was put aside\n" : table(["ID", "SINCE", "REASON"], rows));
    });

  remotely(group.command("show"))
    .description("show an event that was put aside")
    .argument("<id>", "its id, from tollgate usage list")
    .action(async (id: string, _options: unknown, command: Command) => {
      const letter = await ask(io, command, showUsageLetter, { id });
      const text = JSON.stringify(JSON.parse(letter.event), null, 2);
      io.out(`${letter.id}  ${new Date(letter.at).toISOString()}\n${letter.reason}\n\n${text}\n`);
    });

  remotely(group.command("resend"))
    .description("send an event that was put aside once more, or all of them")
    .argument("<id>", "its id, or: all")
    .option("--sink <id>", "with all: those of one endpoint")
    .addHelpText(
      "after",
      `
The command itself sends them, with the secrets of the configuration, whether a relay runs or not; with --remote, the
relay there sends them. An event keeps its id: an endpoint that has it already says so, and that counts as sent. What is
taken is removed from the list.

Examples:
  $ tollgate usage resend all --sink stripe
  $ tollgate usage resend lago:0mx043jxg2128f86d22623ceac3f1:ended`,
    )
    .action(async (id: string, { sink }: { sink?: string }, command: Command) => {
      let sent = 0;
      const left: string[] = [];
      for (let after: string | undefined; ; ) {
        const which = id === "all" ? { sink, after } : { id };
        const done = await (remoteOf(io, command)
          ? ask(io, command, resendUsage, which)
          : locally(io, command, resendUsage, which, ({ store, config }) => resend(store, config, which, io.env)));
        sent += done.sent;
        left.push(...done.left.map((one) => `${one.id}: ${one.why}`));
        if (done.next === undefined) break;
        after = done.next;
      }
      io.out(`${sent} sent\n`);
      if (left.length > 0) throw new CliError(`${left.length} were not taken\n${left.join("\n")}`);
    });

  remotely(group.command("drop"))
    .description("remove an event that was put aside: it will never be sent")
    .argument("<id>", "its id")
    .action(async (id: string, _options: unknown, command: Command) => {
      await ask(io, command, dropUsageLetter, { id });
      io.out(`${id} dropped\n`);
    });
}

const COLUMNS = ["SINK", "PRESET", "WAITING", "OLDEST", "SENT", "FAILED", "ASIDE", "LOST", "STATE"];

const row = (sink: SinkStatus): string[] => [
  sink.sink,
  sink.preset,
  sink.waiting === undefined ? "?" : String(sink.waiting),
  sink.oldestS === undefined ? "-" : `${Math.round(sink.oldestS)} s`,
  String(sink.delivered),
  String(sink.failures),
  String(sink.deadLetters),
  String(sink.lost),
  sink.failing ?? "ok",
];
