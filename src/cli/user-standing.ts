import type { Command } from "commander";
import { renderUnicodeCompact } from "uqr";
import { blockUser, limitUser, nameUser, numberUser, qrUser, unblockUser } from "../operations/users.ts";
import { ask } from "./ask.ts";
import type { Io } from "./io.ts";
import { remotely } from "./remote.ts";

/** `tollgate user block|unblock|limit`: what a registered user may do. */
export function addUserStandingCommands(group: Command, io: Io): void {
  remotely(group.command("block"))
    .description("refuse a user's new calls with 403, from the next second on")
    .argument("<id>", "id of the user")
    .option("--end", "end the user's sessions too, at every node")
    .addHelpText("after", "\nExamples:\n  $ tollgate user block alice\n  $ tollgate user block alice --end")
    .action(async (id: string, { end }: { end?: true }, command: Command) => {
      await ask(io, command, blockUser, { id, end });
      io.out(`user ${id} blocked${end ? "; the sessions of this user are ended" : ""}\n`);
    });

  remotely(group.command("unblock"))
    .description("let a blocked user call again")
    .argument("<id>", "id of the user")
    .action(async (id: string, _options: unknown, command: Command) => {
      await ask(io, command, unblockUser, { id });
      io.out(`user ${id} not blocked\n`);
    });

  remotely(group.command("name"))
    .description("the customer's name on bills")
    .argument("<id>", "id of the user")
    .argument("[name]", "up to 200 characters; left out: no name")
    .addHelpText("after", '\nExamples:\n  $ tollgate user name alice "Alice Example"')
    .action(async (id: string, name: string | undefined, _options: unknown, command: Command) => {
      await ask(io, command, nameUser, { id, name });
      io.out(name === undefined ? `user ${id} has no name\n` : `user ${id} is ${name} on bills\n`);
    });

  remotely(group.command("numbers"))
    .description("the telephone numbers from which a user may call (identity.shaken)")
    .argument("<id>", "id of the user")
    .argument("[numbers...]", "such as +4930123456, the one that is shown by default first; left out: none")
    .addHelpText("after", "\nExamples:\n  $ tollgate user numbers alice +4930123456")
    .action(async (id: string, numbers: string[], _options: unknown, command: Command) => {
      await ask(io, command, numberUser, { id, numbers });
      io.out(numbers.length === 0 ? `user ${id} has no numbers\n` : `user ${id} may call from ${numbers.join(", ")}\n`);
    });

  remotely(group.command("qr"))
    .description("a QR code by which a softphone (Linphone) gets a user's settings (provisioning)")
    .argument("<id>", "id of the user")
    .option("--svg", "as an image, for a page or a letter")
    .addHelpText(
      "after",
      `
Whoever scans the code can sign in as the user: show it to nobody else. It is good for provisioning.minutes, and until
the user gets a new password. The password is not in it.

Examples:
  $ tollgate user qr alice
  $ tollgate user qr alice --svg > alice.svg`,
    )
    .action(async (id: string, { svg: asSvg }: { svg?: true }, command: Command) => {
      const { url, svg, until } = await ask(io, command, qrUser, { id });
      if (asSvg) io.out(`${svg}\n`);
      else io.out(`${renderUnicodeCompact(url, { border: 2 })}\n${url}\ngood until ${new Date(until).toISOString()}\n`);
    });

  remotely(group.command("limit"))
    .description("bound what a user may have under way, spend in a day, and owe")
    .argument("<id>", "id of the user")
    .option("--sessions <number>", "sessions at once, those that ring included; none: as for all others")
    .option("--day <amount>", "the most that this user's sessions may cost in a UTC day; none: no bound")
    .option("--credit <amount>", "how much a user who pays by the bill may owe; none: no bound")
    .option("--currency <code>", "of --day and --credit, ISO 4217; once given it stays")
    .addHelpText(
      "after",
      `
With --day or --credit, what the user's sessions cost is held and taken out of a balance, as for a prepaid user. With
--credit it may go below zero. "tollgate credit show" says what is owed, "tollgate credit topup" notes a payment. What
was charged before is not in it. Services in another currency then answer 402.

Examples:
  $ tollgate user limit alice --sessions 2
  $ tollgate user limit alice --credit 100.00 --day 20.00 --currency EUR
  $ tollgate user limit alice --sessions none --day none --credit none`,
    )
    .action(async (id: string, options: LimitOptions, command: Command) => {
      const { limits } = await ask(io, command, limitUser, { id, ...options });
      io.out(`user ${id}: ${limits}\n`);
    });
}

interface LimitOptions {
  readonly sessions?: string;
  readonly day?: string;
  readonly credit?: string;
  readonly currency?: string;
}
