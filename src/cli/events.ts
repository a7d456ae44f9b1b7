import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { REPAIRED, repaired, replay, withValue } from "../charging/billing/dead-letters.ts";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { Config } from "../config/schema.ts";
import type { Store } from "../store/types.ts";
import { systemClock } from "../support/clock.ts";
import { createLogger } from "../support/logger.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";

const PAGE = 200;

/** `tollgate events`: what could not be billed. */
export function addEventsCommands(program: Command, io: Io): void {
  const group = program
    .command("events")
    .description("dead letters, the events that could not be billed: look, repair, bill, drop");
  const inStore = <T>(command: Command, use: (store: Store, config: Config) => Promise<T>): Promise<T> => {
    const { config } = readConfig(io, command.optsWithGlobals().config);
    return withStore(config, (store) => use(store, config));
  };

  group
    .command("list")
    .description("list the dead letters, with the reason of each")
    .option("--json", "as JSON lines")
    .action((options: { json?: boolean }, command: Command) =>
      inStore(command, async (store) => {
        const rows: string[][] = [];
        for await (const letter of allLetters(store)) {
          if (options.json) io.out(`${JSON.stringify(letter)}\n`);
          else rows.push([letter.id, new Date(letter.at).toISOString(), letter.reason]);
        }
        if (options.json) return;
        io.out(rows.length === 0 ? "every event was billed\n" : table(["ID", "SINCE", "REASON"], rows));
      }),
    );

  group
    .command("show")
    .description("show a dead letter as it is")
    .argument("<id>", "its id, from tollgate events list")
    .action((id: string, _options: unknown, command: Command) =>
      inStore(command, async (store) => {
        const letter = await letterOf(store, id);
        io.out(`${letter.id}  ${new Date(letter.at).toISOString()}\n${letter.reason}\n\n${indented(letter.event)}\n`);
      }),
    );

  addRepairCommand(group, io, inStore);

  group
    .command("replay")
    .description("bill a dead letter, or all that can be billed now; an event that was billed before changes nothing")
    .argument("<id>", "its id, or: all")
    .option("--unsigned", "bill it although no relay has signed it; not with all")
    .addHelpText(
      "after",
      `
It bills straight to the store, as a billing worker does, with any bus, and whether a relay runs or not. Nothing is
published on NATS.`,
    )
    .action((id: string, { unsigned = false }: { unsigned?: boolean }, command: Command) =>
      inStore(command, async (store, config) => {
        if (unsigned && id === "all") throw new CliError("--unsigned: with the id of one event", EXIT.usage);
        const { keepEvents } = config.charging;
        const how = { store, clock: systemClock, log: createLogger({ level: "silent", pretty: false }), keepEvents };
        const left: string[] = [];
        let billed = 0;
        for await (const letter of id === "all" ? allLetters(store) : [await letterOf(store, id)]) {
          const event = await replay(how, letter, { untrusted: unsigned });
          if (event.ok) billed++;
          else left.push(`${letter.id}: ${event.error}`);
        }
        io.out(`${billed} billed\n`);
        if (left.length > 0) throw new CliError(`${left.length} cannot be billed as they are\n${left.join("\n")}`);
      }),
    );

  group
    .command("drop")
    .description("remove a dead letter: it will never be billed")
    .argument("<id>", "its id")
    .action((id: string, _options: unknown, command: Command) =>
      inStore(command, async (store) => {
        if (!(await store.billing.removeDeadLetter(id))) throw notThere(id);
        io.out(`${id} dropped\n`);
      }),
    );
}

function addRepairCommand(
  group: Command,
  io: Io,
  inStore: (command: Command, use: (store: Store) => Promise<void>) => Promise<void>,
): void {
  const collect = (value: string, before: string[]) => [...before, value];
  group
    .command("repair")
    .description("change a dead letter; it keeps its id")
    .argument("<id>", "its id")
    .option(
      "--set <path=value>",
      "one value: text, or a number if the present value is a number; path:=value takes JSON",
      collect,
      [],
    )
    .option("--file <file>", "the whole event as JSON, from a file")
    .addHelpText(
      "after",
      `
Without --set and --file it opens the editor that VISUAL or EDITOR names.

Examples:
  $ tollgate events repair s1:charge:shop:7 --set charge.quantity=2
  $ tollgate events show s1:charge:shop:7 | tail -n +4 > event.json
  $ tollgate events repair s1:charge:shop:7 --file event.json
  $ tollgate events replay s1:charge:shop:7`,
    )
    .action((id: string, options: { set: string[]; file?: string }, command: Command) =>
      inStore(command, async (store) => {
        const letter = await letterOf(store, id);
        const changed = repaired(letter, newText(io, letter, options));
        if (!changed.ok) throw new CliError(changed.error);
        await store.billing.putDeadLetter(changed.value);
        const { reason } = changed.value;
        io.out(
          reason === REPAIRED
            ? `${id} can be billed: tollgate events replay ${id}\n`
            : `${id} changed; still: ${reason}\n`,
        );
      }),
    );
}

function newText(io: Io, letter: DeadLetter, { set, file }: { set: string[]; file?: string }): string {
  if (file !== undefined && set.length > 0) throw new CliError("--set and --file: one of them", EXIT.usage);
  if (file !== undefined) return readFileSync(resolve(io.cwd, file), "utf8");
  if (set.length === 0) return edited(io, indented(letter.event));
  let text = letter.event;
  for (const one of set) {
    const [, path, json, value] = /^([^=:]+)(:?)=(.*)$/s.exec(one) ?? [];
    if (path === undefined || value === undefined)
      throw new CliError(`--set: expected path=value; found ${one}`, EXIT.usage);
    const next = withValue(text, path, value, json === ":");
    if (!next.ok) throw new CliError(next.error);
    text = next.value;
  }
  return text;
}

/** Lets the user change a text in the editor. */
function edited(io: Io, text: string): string {
  const editor = io.env.VISUAL || io.env.EDITOR;
  if (!editor) throw new CliError("--set or --file says what to change; or set EDITOR", EXIT.usage);
  const folder = mkdtempSync(join(tmpdir(), "tollgate-")); // of this user only
  try {
    const file = join(folder, "event.json");
    writeFileSync(file, `${text}\n`, { mode: 0o600 });
    const { status, error } = spawnSync(`${editor} "$TOLLGATE_FILE"`, {
      shell: true,
      stdio: "inherit",
      env: { ...process.env, ...io.env, TOLLGATE_FILE: file },
    });
    if (error || status !== 0) throw new CliError(`${editor} ended with ${error?.message ?? status}; nothing changed`);
    return readFileSync(file, "utf8");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function* allLetters(store: Store): AsyncGenerator<DeadLetter> {
  let after: string | undefined;
  for (;;) {
    const page = await store.billing.deadLetters(PAGE, after);
    yield* page;
    if (page.length < PAGE) return;
    after = page.at(-1)!.id;
  }
}

async function letterOf(store: Store, id: string): Promise<DeadLetter> {
  const letter = await store.billing.getDeadLetter(id);
  if (!letter) throw notThere(id);
  return letter;
}

const notThere = (id: string) =>
  new CliError(`no event ${id} among those that could not be billed; see: tollgate events list`);

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
