import type { Command } from "commander";
import type { SessionView } from "../node/session-view.ts";
import { askRelay } from "./ask-relay.ts";
import { readConfig } from "./context.ts";
import { type Io, table } from "./io.ts";

/** `tollgate sessions`. */
export function addSessionsCommand(program: Command, io: Io): void {
  program
    .command("sessions")
    .description("list the sessions of the relay that runs on this data folder")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  $ tollgate sessions --config /etc/tollgate/tollgate.yaml")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const sessions = (await askRelay(config, "GET", "/sessions")) as SessionView[];
      if (options.json) io.out(`${JSON.stringify(sessions, null, 2)}\n`);
      else if (sessions.length === 0) io.out("no sessions\n");
      else io.out(table(["SESSION", "USER", "SERVICE", "APP SERVER", "STATE", "CLOCK"], sessions.map(row)));
    });
}

const row = (s: SessionView): string[] => [
  s.id,
  s.user,
  s.service,
  s.appServer,
  s.state,
  s.durationMs === undefined ? "-" : clock(s.durationMs),
];

/** `1:02:03` for an hour, two minutes and three seconds. */
function clock(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (value: number) => String(value).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}
