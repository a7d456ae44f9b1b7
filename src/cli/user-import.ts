import type { Command } from "commander";
import { importedUsers, importUsers } from "../operations/imports.ts";
import { ask, locally } from "./ask.ts";
import { importedText, sayNotTaken } from "./import-file.ts";
import { CliError, type Io } from "./io.ts";
import { remotely, remoteOf } from "./remote.ts";

interface ImportOptions {
  readonly realm?: string;
  readonly replace?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

type Report = Omit<Awaited<ReturnType<typeof importUsers.run>>, "allowsMd5">;

/** How many rows are taken between two lines of progress. */
const PROGRESS_ROWS = 5_000;

/** `tollgate user import`. */
export function addUserImportCommand(user: Command, io: Io): void {
  remotely(user.command("import"))
    .description("register the users of a CSV file, such as the subscriber table of Kamailio or OpenSIPS")
    .argument("<file>", "CSV with a header row, fields separated by commas, semicolons or tabs; - for standard input")
    .option("--realm <realm>", "the hashes are for this realm, whatever the column domain says")
    .option("--replace", "give users that are registered already the hashes of the file")
    .option("--dry-run", "only say what would be done")
    .option("--json", "the report as JSON")
    .addHelpText(
      "after",
      `
Columns: username, domain, ha1 (MD5), ha1b (MD5 with the domain in the user name), ha1_sha256; where there are no
hashes, password, of which only hashes are kept. Two columns are Tollgate's own: prepaid (a currency) and sessions (how
many at once). Other columns are not looked at.

A user of whom there is an MD5 value alone signs in by MD5 alone. Give such a user a password again with
"tollgate user add ID --replace", and SHA-256 is offered.

A row with a mistake is not taken, and is reported with its line and the reason; the others are. The same file may be
imported again. Exit code: 0 if every row was taken, else 1.

Examples:
  $ mysql -B kamailio -e "SELECT username, domain, ha1, ha1b FROM subscriber" | tollgate user import -
  $ psql opensips -c "\\copy subscriber TO STDOUT CSV HEADER" | tollgate user import - --dry-run
  $ tollgate user import subscribers.csv --realm portal.example`,
    )
    .action(async (file: string, options: ImportOptions, command: Command) => {
      const { realm, replace, dryRun } = options;
      const csv = await importedText(io, file);
      const input = { csv, realm, replace, dryRun };
      const progress = (rows: number) => {
        if (rows > 0 && rows % PROGRESS_ROWS === 0) io.err(`${rows} rows\n`);
      };
      const { allowsMd5, ...report } = await (remoteOf(io, command)
        ? ask(io, command, importUsers, input)
        : locally(io, command, importUsers, input, (context) => importedUsers(context, input, progress)));
      if (options.json) io.out(`${JSON.stringify(report, null, 2)}\n`);
      else print(io, report, dryRun ?? false, allowsMd5);
      if (report.refused > 0) throw new CliError(`${report.refused} of ${report.rows} rows were not taken`);
    });
}

function print(io: Io, report: Report, dryRun: boolean, allowsMd5: boolean): void {
  const { registered, replaced, unchanged, md5Only, refused, notTaken } = report;
  sayNotTaken(io, notTaken);
  const counts = [
    [registered, dryRun ? "would be registered" : "registered"],
    [replaced, dryRun ? "would be replaced" : "replaced"],
    [unchanged, "registered before"],
    [refused, "not taken"],
  ] as const;
  const said = counts.filter(([count], i) => count > 0 || i === 0).map(([count, what]) => `${count} ${what}`);
  io.out(`${said.join(", ")}\n`);
  if (md5Only > 0)
    io.out(
      allowsMd5
        ? `${md5Only} of them have an MD5 value alone, and sign in by MD5 alone\n`
        : `${md5Only} of them have an MD5 value alone, and cannot sign in: authentication.algorithms has no md5\n`,
    );
}
