import type { Command } from "commander";
import { adjustCredit, openCredit, showCredit, topUpCredit } from "../operations/credit.ts";
import { ask } from "./ask.ts";
import { type Io, table } from "./io.ts";
import { remotely } from "./remote.ts";

/** Lines of the ledger: with --json all of them. */
const SHOWN = 20;
const ALL = 100_000;

/** `tollgate credit open|show|topup|adjust`: the balances of prepaid users. */
export function addCreditCommands(program: Command, io: Io): void {
  const credit = program.command("credit").description("balances of users who pay in advance, or may owe only so much");

  remotely(credit.command("open"))
    .description("make a registered user prepaid, with an empty balance")
    .argument("<user>", "id of the user")
    .requiredOption("--currency <code>", "ISO 4217, such as EUR")
    .addHelpText("after", "\nExamples:\n  $ tollgate credit open alice --currency EUR")
    .action(async (user: string, { currency }: { currency: string }, command: Command) => {
      const { note } = await ask(io, command, openCredit, { user, currency });
      io.out(`user ${user} is prepaid in ${currency}\n`);
      if (note !== undefined) io.err(`note: ${note}\n`);
    });

  remotely(credit.command("show"))
    .description("show a user's balance, what is held of it, and the last lines of its ledger")
    .argument("<user>", "id of the user")
    .option("--json", "as JSON, with the whole ledger")
    .action(async (name: string, { json }: { json?: boolean }, command: Command) => {
      const { left, ...shown } = await ask(io, command, showCredit, { user: name, most: json ? ALL : SHOWN });
      if (json) {
        io.out(`${JSON.stringify(shown, null, 2)}\n`);
        return;
      }
      const { user, currency, balance, available, held, ledger, creditLimit, perDay } = shown;
      const terms = [
        ...(creditLimit === undefined ? [] : [`may owe ${creditLimit} ${currency}`]),
        ...(perDay === undefined ? [] : [`may spend ${perDay} ${currency} a day`]),
      ];
      io.out(`${user}: ${balance} ${currency}\n`);
      if (held.length > 0)
        io.out(`  of it free: ${available} ${currency}; the rest is held for ${held.length} session(s)\n`);
      if (terms.length > 0) io.out(`  ${terms.join(", ")}\n`);
      const rows = ledger.map(({ at, kind, amount, reason, session, id }) => [
        new Date(at).toISOString().slice(0, 19),
        kind,
        amount,
        reason ?? session ?? id.slice(kind.length + 1),
      ]);
      if (rows.length > 0) io.out(`\n${table(["AT (UTC)", "WHAT", currency, "FOR"], rows)}`);
      if (left > 0) io.out(`the last ${SHOWN} of ${ledger.length + left}; --json lists all\n`);
    });

  remotely(credit.command("topup"))
    .description("add to a balance; the same --id again adds nothing")
    .argument("<user>", "id of the user")
    .argument("<amount>", "decimal amount in the balance's currency")
    .requiredOption("--id <id>", "an id of your own, such as the number of the payment")
    .addHelpText("after", "\nExamples:\n  $ tollgate credit topup alice 20.00 --id payment-4711")
    .action(async (user: string, amount: string, { id }: { id: string }, command: Command) =>
      io.out(postedText(id, await ask(io, command, topUpCredit, { user, id, amount }))),
    );

  remotely(credit.command("adjust"))
    .description("correct a balance by a further entry with a reason; the same --id again changes nothing")
    .argument("<user>", "id of the user")
    .requiredOption("--by <amount>", "decimal amount in the balance's currency; -5.00 takes away (--by=-5.00)")
    .requiredOption("--id <id>", "an id of your own")
    .requiredOption("--reason <text>", "why")
    .addHelpText(
      "after",
      "\nExamples:\n  $ tollgate credit adjust alice --by=-5.00 --id ticket-12 --reason 'typed twice'",
    )
    .action(async (user: string, options: { by: string; id: string; reason: string }, command: Command) => {
      const { by: amount, id, reason } = options;
      io.out(postedText(id, await ask(io, command, adjustCredit, { user, id, amount, reason })));
    });
}

interface Posted {
  readonly user: string;
  readonly balance: string;
  readonly currency: string;
  readonly repeated: boolean;
}

function postedText(id: string, { user, balance, currency, repeated }: Posted): string {
  const note = repeated ? `${id} was posted before: nothing is changed; ` : "";
  return `${note}balance of ${user}: ${balance} ${currency}\n`;
}
