import type { Command } from "commander";
import type { RegistrationView } from "../node/registrations.ts";
import { listRegistrations, removeRegistrations } from "../operations/running.ts";
import { ask } from "./ask.ts";
import { EXIT, type Io, table } from "./io.ts";
import { remotely } from "./remote.ts";

/** `tollgate registrations` and `tollgate unregister`: where users' devices are (RFC 3261 §10). */
export function addRegistrationsCommands(program: Command, io: Io, setCode: (code: number) => void): void {
  remotely(program.command("registrations"))
    .description("list which devices have registered, and where they are reached")
    .option("--user <id>", "of this user alone")
    .option("--json", "as JSON, with the URI that names each device (RFC 5627)")
    .addHelpText("after", "\nExamples:\n  $ tollgate registrations\n  $ tollgate registrations --user alice --json")
    .action(async (options: { user?: string; json?: boolean }, command: Command) => {
      const { registrations: found } = await ask(io, command, listRegistrations, { user: options.user });
      if (options.json) io.out(`${JSON.stringify(found, null, 2)}\n`);
      else if (found.length === 0) io.out("nobody has registered\n");
      else io.out(table(["USER", "CONTACT", "CAME FROM", "LEFT", "USER AGENT"], found.map(row)));
    });
  remotely(program.command("unregister <user>"))
    .description("forget the devices that a user has registered")
    .addHelpText(
      "after",
      `
A device that is on registers again when its time is over. To keep a user out, use: tollgate user block

Example:
  $ tollgate unregister alice`,
    )
    .action(async (user: string, _options: unknown, command: Command) => {
      const { removed } = await ask(io, command, removeRegistrations, { user });
      io.out(removed === 0 ? `${user} has registered nothing\n` : `${removed} removed\n`);
      setCode(removed === 0 ? EXIT.failure : EXIT.ok);
    });
}

const row = ({ user, contact, from, leftS, userAgent = "" }: RegistrationView): string[] => [
  user,
  contact.length > MAX_CONTACT ? `${contact.slice(0, MAX_CONTACT - 3)}...` : contact,
  from,
  `${leftS} s`,
  userAgent,
];

const MAX_CONTACT = 60;
