import type { Command } from "commander";
import type { ChargingEvent } from "../charging/events/events.ts";
import type { Config } from "../config/schema.ts";
import { showUsage } from "../operations/running.ts";
import type { Store } from "../store/types.ts";
import { systemClock } from "../support/clock.ts";
import type { UsageLetter } from "../usage/letters.ts";
import type { SinkStatus } from "../usage/usage.ts";
import { ask } from "./ask.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, type Io, table } from "./io.ts";
import { remotely } from "./remote.ts";

const PAGE = 200;

/** `tollgate usage`: how usage comes to those who meter and bill, and what did not. */
export function addUsageCommands(program: Command, io: Io): void {
  const group = program
    .command("usage")
    .description("usage that is sent by HTTP (setting usage): how far behind it is, and what was not taken");
  const inStore = <T>(command: Command, use: (store: Store, config: Config) => Promise<T>): Promise<T> => {
    const { config } = readConfig(io, command.optsWithGlobals().config);
    return withStore(config, (store) => use(store, config));
  };

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

  group
    .command("list")
    .description("list the events that were put aside, with the reason of each")
    .option("--sink <id>", "those of one endpoint")
    .option("--json", "as JSON lines")
    .action((options: { sink?: string; json?: boolean }, command: Command) =>
      inStore(command, async (store) => {
        const rows: string[][] = [];
        for await (const letter of allLetters(store, options.sink)) {
          if (options.json) io.out(`${JSON.stringify(letter)}\n`);
          else rows.push([letter.id, new Date(letter.at).toISOString(), letter.reason]);
        }
        if (options.json) return;
        io.out(rows.length === 0 ? "nothing was put aside\n" : table(["ID", "SINCE", "REASON"], rows));
      }),
    );

  group
    .command("show")
    .description("show an event that was put aside")
    .argument("<id>", "its id, from tollgate usage list")
    .action((id: string, _options: unknown, command: Command) =>
      inStore(command, async (store) => {
        const letter = await letterOf(store, id);
        const text = JSON.stringify(JSON.parse(letter.event), null, 2);
        io.out(`${letter.id}  ${new Date(letter.at).toISOString()}\n${letter.reason}\n\n${text}\n`);
      }),
    );

  group
    .command("resend")
    .description("send an event that was put aside once more, or all of them")
    .argument("<id>", "its id, or: all")
    .option("--sink <id>", "with all: those of one endpoint")
    .addHelpText(
      "after",
      `
The command itself sends them, with the secrets of the configuration, whether a relay runs or not. An event keeps its
id: an endpoint that has it already says so, and that counts as sent. What is taken is removed from the list.

Examples:
  $ tollgate usage resend all --sink stripe
  $ tollgate usage resend lago:0mx043jxg2128f86d22623ceac3f1:ended`,
    )
    .action((id: string, options: { sink?: string }, command: Command) =>
      inStore(command, async (store, config) => {
        const all = id === "all" ? allLetters(store, options.sink) : [await letterOf(store, id)];
        const { sent, left } = await resend(store, config, all, io.env);
        io.out(`${sent} sent\n`);
        if (left.length > 0) throw new CliError(`${left.length} were not taken\n${left.join("\n")}`);
      }),
    );

  group
    .command("drop")
    .description("remove an event that was put aside: it will never be sent")
    .argument("<id>", "its id")
    .action((id: string, _options: unknown, command: Command) =>
      inStore(command, async (store) => {
        if (!(await store.usage.remove(id))) throw notThere(id);
        io.out(`${id} dropped\n`);
      }),
    );
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

async function resend(
  store: Store,
  config: Config,
  letters: AsyncIterable<UsageLetter> | Iterable<UsageLetter>,
  env: Io["env"],
): Promise<{ sent: number; left: string[] }> {
  const { Endpoint } = await import("../usage/endpoint.ts");
  const { sendByFetch } = await import("../support/http-send.ts");
  const { attempt } = await import("../usage/attempt.ts");
  const endpoints = new Map(config.usage.map((sink) => [sink.id, new Endpoint(sink, env, systemClock)]));
  const left: string[] = [];
  let sent = 0;
  for await (const letter of letters) {
    const endpoint = endpoints.get(letter.sink);
    const event = JSON.parse(letter.event) as ChargingEvent;
    const outcome = endpoint
      ? await attempt({ endpoint, send: sendByFetch, clock: systemClock }, event)
      : { verdict: "never", why: `there is no sink ${letter.sink} in the configuration` };
    if (outcome.verdict === "taken") {
      await store.usage.remove(letter.id); // killed before this: it is sent once more, under the same id
      sent++;
    } else left.push(`${letter.id}: ${outcome.why}`);
  }
  return { sent, left };
}

async function* allLetters(store: Store, sink?: string): AsyncGenerator<UsageLetter> {
  let after: string | undefined;
  for (;;) {
    const page = await store.usage.list(PAGE, after);
    for (const letter of page) if (sink === undefined || letter.sink === sink) yield letter;
    if (page.length < PAGE) return;
    after = page.at(-1)!.id;
  }
}

async function letterOf(store: Store, id: string): Promise<UsageLetter> {
  const letter = await store.usage.get(id);
  if (!letter) throw notThere(id);
  return letter;
}

const notThere = (id: string) => new CliError(`no event ${id} was put aside; see: tollgate usage list`);
