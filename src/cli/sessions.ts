import type { Command } from "commander";
import type { SessionView } from "../node/session-view.ts";
import { listSessions, removeSession } from "../operations/running.ts";
import { ask } from "./ask.ts";
import { type Io, table } from "./io.ts";
import { sayMissing } from "./missing.ts";
import { remotely } from "./remote.ts";

/** `tollgate sessions` and `tollgate end`. */
export function addSessionsCommand(program: Command, io: Io): void {
  remotely(program.command("sessions"))
    .description("list the sessions that run; in a cluster, those of all nodes")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  $ tollgate sessions --config /etc/tollgate/tollgate.yaml")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { sessions, missing } = await ask(io, command, listSessions, {});
      sayMissing(io, missing, "its sessions are not listed");
      if (options.json) io.out(`${JSON.stringify(sessions, null, 2)}\n`);
      else if (sessions.length === 0) io.out("no sessions\n");
      else io.out(tableOf(sessions));
    });

  remotely(program.command("end"))
    .description("end a session: both ends get BYE, and what rings is cancelled")
    .argument("<session>", "its id, from tollgate sessions")
    .addHelpText(
      "after",
      `
What was charged stays on the bill. In a cluster, any node will do: it asks the one that has the session.

Examples:
  $ tollgate end 0mx043jxg2128f86d22623ceac3f1`,
    )
    .action(async (id: string, _options: unknown, command: Command) => {
      await ask(io, command, removeSession, { id });
      io.out(`session ${id} ended\n`);
    });
}

function tableOf(sessions: readonly SessionView[]): string {
  const columns = ["SESSION", "USER", "SERVICE", "APP SERVER", "STATE", "CLOCK", "COST"];
  if (!sessions.some(({ node }) => node)) return table(columns, sessions.map(row));
  return table(
    [...columns, "NODE"],
    sessions.map((view) => [...row(view), view.node ?? "-"]),
  );
}

const row = (s: SessionView): string[] => [
  s.id,
  s.user,
  s.service,
  s.appServer,
  s.state,
  s.durationMs === undefined ? "-" : clock(s.durationMs),
  s.cost ?? "-",
];

/** `1:02:03` for an hour, two minutes and three seconds. */
function clock(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (value: number) => String(value).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}
