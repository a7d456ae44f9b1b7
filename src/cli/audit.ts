import type { Command } from "commander";
import type { AuditEntry } from "../calls/audit.ts";
import { listAudit } from "../operations/audit.ts";
import { ask } from "./ask.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";
import { remotely } from "./remote.ts";

const MOST = 100_000;
const PAGE = 1_000;

/** `tollgate audit`: who changed what, and who read what is said about people. */
export function addAuditCommand(program: Command, io: Io): void {
  remotely(program.command("audit"))
    .description("list who changed what, and who read what is said about people, by command or by HTTP")
    .option("--since <time>", "since then: 30s, 10m, 2h, 3d, or 2026-01-31T12:00:00Z")
    .option("--most <number>", "the newest so many", "100")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      `
The same reading by the same reader counts once in 10 minutes. Entries are kept for 400 days, 100,000 of them at most.

Examples:
  $ tollgate audit --since 1d
  $ tollgate audit --most 1000 --json`,
    )
    .action(async (options: { since?: string; most: string; json?: boolean }, command: Command) => {
      const most = Number(options.most);
      if (!Number.isInteger(most) || most < 1 || most > MOST)
        throw new CliError(`--most: expected a number from 1 to ${MOST}; found ${options.most}`, EXIT.usage);
      const entries: AuditEntry[] = [];
      for (let cursor: string | undefined; ; ) {
        const asked = { since: options.since, most: Math.min(PAGE, most - entries.length), cursor };
        const page = await ask(io, command, listAudit, asked);
        entries.push(...page.entries);
        cursor = page.next;
        if (cursor === undefined || entries.length >= most) break;
      }
      entries.reverse();
      if (options.json) io.out(`${JSON.stringify(entries, null, 2)}\n`);
      else if (entries.length === 0) io.out("nothing is noted\n");
      else io.out(table(["AT (UTC)", "WHO", "ROLE", "FROM", "WHAT", "OF", "OUTCOME"], entries.map(row)));
    });
}

const row = ({ at, who, role, from, what, of = {}, outcome }: AuditEntry): string[] => [
  new Date(at).toISOString().slice(0, 19),
  who,
  role,
  from,
  what,
  Object.entries(of)
    .map(([name, value]) => `${name} ${value}`)
    .join(", "),
  outcome,
];
