import type { Command } from "commander";
import { controlPath, watchControl } from "../console/control.ts";
import { WATCHING, type WatchLine } from "../console/watch-route.ts";
import { readConfig } from "./context.ts";
import { CliError, type Io } from "./io.ts";

interface WatchOptions {
  readonly user?: string;
  readonly service?: string;
  readonly callId?: string;
  readonly full?: boolean;
  readonly json?: boolean;
}

/** `tollgate watch`. */
export function addWatchCommand(program: Command, io: Io): void {
  program
    .command("watch")
    .description("print what happens in calls as it happens: messages, transitions of the charts, charges, timers")
    .option("--user <id>", "calls of that user")
    .option("--service <id>", "calls for that service")
    .option("--call-id <id>", "the call with that Call-ID, also of a stranger")
    .option("--full", "whole messages")
    .option("--json", "as JSON lines")
    .addHelpText(
      "after",
      `
A call is printed from its first message on, once it is known who calls. Credentials, passwords and keys are left out.
It ends with Ctrl-C, or when the relay stops.

Examples:
  $ tollgate watch
  $ tollgate watch --user alice --full`,
    )
    .action(async (options: WatchOptions, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const query = new URLSearchParams();
      for (const name of ["user", "service", "callId"] as const) if (options[name]) query.set(name, options[name]);
      if (options.full) query.set("full", "1");
      const print = options.json ? (line: WatchLine) => `${JSON.stringify(line)}\n` : lineText;
      const lines = watchControl(controlPath(config.data), `/watch?${query}`, (stop) => {
        const offs = (["SIGINT", "SIGTERM"] as const).map((name) => io.onSignal(name, stop));
        return () => offs.forEach((off) => void off());
      });
      const ended = await lines((text) => {
        if (text === WATCHING) io.err("watching; Ctrl-C ends it\n");
        else io.out(print(JSON.parse(text) as WatchLine));
      });
      if (!ended.ok)
        throw new CliError(
          ended.error.absent
            ? `no relay runs on ${config.data}: start one with tollgate start, or name its configuration with --config`
            : `the relay on ${config.data} does not answer: ${ended.error.message}`,
        );
    });
}

function lineText({ at, call, user, service, text, message }: WatchLine): string {
  const time = new Date(at).toISOString().slice(11, 23);
  const who = `${call === undefined ? "-" : call.slice(0, 8)} ${user || "-"} ${service || "-"}`;
  const line = `${time}  ${who.padEnd(28)}  ${text}\n`;
  if (message === undefined) return printable(line);
  const body = message.split(/\r\n|\n/).map((one) => `    ${one}`.trimEnd());
  return `${printable(line)}${printable(body.join("\n"))}\n`;
}

/** Text of peers must not control the terminal. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e\n]/g, "?");
