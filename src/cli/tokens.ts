import { type Command, InvalidArgumentError, Option } from "commander";
import { TOKEN_ROLES } from "../operations/rights.ts";
import { createToken, listTokens, revokeToken, type TokenView } from "../operations/tokens.ts";
import { ask } from "./ask.ts";
import { type Io, table } from "./io.ts";
import { remotely } from "./remote.ts";

interface CreateOptions {
  readonly role: string;
  readonly expires?: number;
  readonly appServer?: string;
  readonly json?: boolean;
}

/** `tollgate token create|list|revoke`: what signs in by HTTP. */
export function addTokenCommands(program: Command, io: Io): void {
  const group = program.command("token").description("tokens by which people and programs sign in to the HTTP API");

  group
    .command("create")
    .description("make a token and show it, once; only its hash is kept")
    .argument("<name>", "who or what it is for: it stands in the audit log")
    .addOption(new Option("--role <role>", "what it may do").choices(TOKEN_ROLES).makeOptionMandatory())
    .option("--expires <time>", "after so long it is refused, such as 12h or 90d (default: never)", days)
    .option("--app-server <id>", "with the role app-server: the app server that charges with it")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      `
viewer looks at calls, sessions, users and what is registered. biller sees bills and balances too, and changes them.
operator may do everything. app-server charges for one app server, as with a key of it, and does nothing else.

A token is made on the machine itself, so that no token can make another one.

Examples:
  $ tollgate token create ann --role operator --expires 90d
  $ tollgate token create wall --role viewer > wall.token
  $ tollgate token create shop-1 --role app-server --app-server shop`,
    )
    .action(async (name: string, { role, expires, appServer, json }: CreateOptions, command: Command) => {
      const made = await ask(io, command, createToken, { name, role, expiresDays: expires, appServer });
      if (json) io.out(`${JSON.stringify(made)}\n`);
      else {
        io.err(`token ${name}, shown this once; it is good within about a second\n`);
        io.out(`${made.token}\n`);
      }
    });

  remotely(group.command("list"))
    .description("list the tokens, without their secrets")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { tokens } = await ask(io, command, listTokens, {});
      if (options.json) io.out(`${JSON.stringify(tokens, null, 2)}\n`);
      else if (tokens.length === 0) io.out("no tokens; make one with: tollgate token create NAME --role ROLE\n");
      else io.out(table(["TOKEN", "ROLE", "CREATED", "EXPIRES", "APP SERVER"], tokens.map(row)));
    });

  remotely(group.command("revoke"))
    .description("revoke a token: it is refused within about a second")
    .argument("<name>", "its name, from tollgate token list")
    .action(async (name: string, _options: unknown, command: Command) => {
      await ask(io, command, revokeToken, { name });
      io.out(`token ${name} revoked\n`);
    });
}

function row({ name, role, createdAt, expiresAt, expired, appServer = "-" }: TokenView): string[] {
  const expires = expiresAt === undefined ? "never" : `${new Date(expiresAt).toISOString()}${expired ? " (over)" : ""}`;
  return [name, role, new Date(createdAt).toISOString(), expires, appServer];
}

const IN_DAYS: Readonly<Record<string, number>> = { m: 1 / 1_440, h: 1 / 24, d: 1 };

function days(text: string): number {
  const [, number, unit] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const value = Number(number) * (IN_DAYS[unit ?? ""] ?? Number.NaN);
  if (value > 0 && value <= 3_650) return value;
  throw new InvalidArgumentError("It has to be a time such as 30m, 12h or 90d, 10 years at most.");
}
