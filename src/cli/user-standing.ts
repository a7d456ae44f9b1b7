import type { Command } from "commander";
import type { User } from "../directory/types.ts";
import type { Store } from "../store/types.ts";
import { readConfig, withStore } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";

/** `tollgate user block|unblock|limit`: what a registered user may do. */
export function addUserStandingCommands(group: Command, io: Io): void {
  const change = (command: Command, id: string, to: (user: User) => User): Promise<void> => {
    const { config } = readConfig(io, command.optsWithGlobals().config);
    return withStore(config, async (store) => store.users.put(to(await mustKnow(store, id))));
  };

  group
    .command("block")
    .description("refuse a user's new calls with 403, from the next second on")
    .argument("<id>", "id of the user")
    .option("--end", "end the user's sessions too, at every node")
    .addHelpText("after", "\nExamples:\n  $ tollgate user block alice\n  $ tollgate user block alice --end")
    .action(async (id: string, { end }: { end?: true }, command: Command) => {
      const since = Date.now();
      await change(command, id, (user) => ({ ...user, blocked: { since, ...(end && { end }) } }));
      io.out(`user ${id} blocked${end ? "; the sessions of this user are ended" : ""}\n`);
    });

  group
    .command("unblock")
    .description("let a blocked user call again")
    .argument("<id>", "id of the user")
    .action(async (id: string, _options: unknown, command: Command) => {
      await change(command, id, ({ blocked: _, ...user }) => user);
      io.out(`user ${id} not blocked\n`);
    });

  group
    .command("limit")
    .description("bound what a user may have under way")
    .argument("<id>", "id of the user")
    .requiredOption("--sessions <number>", "sessions at once, those that ring included; none: as for all others")
    .addHelpText(
      "after",
      "\nExamples:\n  $ tollgate user limit alice --sessions 2\n  $ tollgate user limit alice --sessions none",
    )
    .action(async (id: string, { sessions }: { sessions: string }, command: Command) => {
      const isNone = sessions === "none";
      if (!isNone && !/^[1-9]\d{0,5}$/.test(sessions))
        throw new CliError(`--sessions: expected a number from 1, or none; found "${sessions}"`, EXIT.usage);
      await change(command, id, ({ limits: _, ...user }) =>
        isNone ? user : { ...user, limits: { sessions: Number(sessions) } },
      );
      io.out(`user ${id} may have ${isNone ? "as many sessions as others" : `${sessions} sessions`} at once\n`);
    });
}

async function mustKnow(store: Store, id: string): Promise<User> {
  const user = await store.users.get(id);
  if (!user) throw new CliError(`no user ${id}; see: tollgate user list`);
  return user;
}
