import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { withValue } from "../charging/billing/dead-letters.ts";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import {
  dropDeadLetter,
  listDeadLetters,
  listRefusedCharges,
  repairDeadLetter,
  replayDeadLetter,
  showDeadLetter,
} from "../operations/dead-letters.ts";
import { ask } from "./ask.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";
import { remotely } from "./remote.ts";

const PAGE = 200;

/** `tollgate events`: what could not be billed. */
export function addEventsCommands(program: Command, io: Io): void {
  const group = program
    .command("events")
    .description("dead letters, the events that could not be billed: look, repair, bill, drop");
  remotely(group.command("list"))
    .description("list the dead letters, with the reason of each")
    .option("--json", "as JSON lines")
    .action(async (options: { json?: boolean }, command: Command) => {
      const rows: string[][] = [];
      for await (const letter of allLetters(io, command)) {
        if (options.json) io.out(`${JSON.stringify(letter)}\n`);
        else rows.push([letter.id, new Date(letter.at).toISOString(), letter.reason]);
      }
      if (options.json) return;
      io.out(rows.length === 0 ? "every event was billed\n" : table(["ID", "SINCE", "REASON"], rows));
    });

  remotely(group.command("refused"))
    .description("list the charges that app servers asked for and did not get, with the reason of each")
    .option("--since <when>", "since then: 30s, 10m, 2h, 3d, or a time such as 2026-01-31T08:00:00Z")
    .option("--most <n>", "at most so many, the newest", "50")
    .option("--json", "as JSON lines")
    .action(async ({ since, most, json }: { since?: string; most: string; json?: boolean }, command: Command) => {
      const { refused } = await ask(io, command, listRefusedCharges, { since, most: Number(most) });
      if (json) for (const one of refused) io.out(`${JSON.stringify(one)}\n`);
      if (json) return;
      const rows = refused.map(({ at, user, service, appServer, call, reason }) => {
        return [new Date(at).toISOString(), user, service, appServer, call, reason];
      });
      const heads = ["AT", "USER", "SERVICE", "APP SERVER", "CALL", "REASON"];
      io.out(rows.length === 0 ? "no charge was refused\n" : table(heads, rows));
    });

  remotely(group.command("show"))
    .description("show a dead letter as it is")
    .argument("<id>", "its id, from tollgate events list")
    .action(async (id: string, _options: unknown, command: Command) => {
      const letter = await ask(io, command, showDeadLetter, { id });
      io.out(`${letter.id}  ${new Date(letter.at).toISOString()}\n${letter.reason}\n\n${indented(letter.event)}\n`);
    });

  addRepairCommand(group, io);

  remotely(group.command("replay"))
    .description("bill a dead letter, or all that can be billed now; an event that was billed before changes nothing")
    .argument("<id>", "its id, or: all")
    .option("--unsigned", "bill it although no relay has signed it; not with all")
    .addHelpText(
      "after",
      `
It bills straight to the store, as a billing worker does, with any bus, and whether a relay runs or not. Nothing is
published on NATS.`,
    )
    .action(async (id: string, { unsigned = false }: { unsigned?: boolean }, command: Command) => {
      if (unsigned && id === "all") throw new CliError("--unsigned: with the id of one event", EXIT.usage);
      const left: string[] = [];
      let billed = 0;
      for await (const letter of id === "all"
        ? allLetters(io, command)
        : [await ask(io, command, showDeadLetter, { id })])
        try {
          await ask(io, command, replayDeadLetter, { id: letter.id, unsigned });
          billed++;
        } catch (error) {
          if (!(error instanceof CliError)) throw error;
          left.push(`${letter.id}: ${error.message}`);
        }
      io.out(`${billed} billed\n`);
      if (left.length > 0) throw new CliError(`${left.length} cannot be billed as they are\n${left.join("\n")}`);
    });

  remotely(group.command("drop"))
    .description("remove a dead letter: it will never be billed")
    .argument("<id>", "its id")
    .action(async (id: string, _options: unknown, command: Command) => {
      await ask(io, command, dropDeadLetter, { id });
      io.out(`${id} dropped\n`);
    });
}

function addRepairCommand(group: Command, io: Io): void {
  const collect = (value: string, before: string[]) => [...before, value];
  remotely(group.command("repair"))
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
    .action(async (id: string, options: { set: string[]; file?: string }, command: Command) => {
      const letter = await ask(io, command, showDeadLetter, { id });
      const { ready, reason } = await ask(io, command, repairDeadLetter, { id, event: newText(io, letter, options) });
      io.out(ready ? `${id} can be billed: tollgate events replay ${id}\n` : `${id} changed; still: ${reason}\n`);
    });
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

async function* allLetters(io: Io, command: Command): AsyncGenerator<DeadLetter> {
  for (let after: string | undefined; ; ) {
    const page = await ask(io, command, listDeadLetters, { after, most: PAGE });
    yield* page.deadLetters;
    after = page.next;
    if (after === undefined) return;
  }
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
