import { type Command, InvalidArgumentError } from "commander";
import { MAX_DRAIN_S } from "../config/schema.ts";
import { askControl, controlPath } from "../console/control.ts";
import { askRelay } from "./ask-relay.ts";
import { readConfig } from "./context.ts";
import type { Io } from "./io.ts";

const LOOK_AGAIN_MS = 250;

/** `tollgate drain`: stops a relay without cutting anybody off (P3). */
export function addDrainCommand(program: Command, io: Io): void {
  program
    .command("drain")
    .description("stop the relay on this data folder: it takes no new sessions, and stops when none is left")
    .option("--within <seconds>", "how long sessions may go on; then both ends get BYE (default: drainS)", seconds)
    .addHelpText(
      "after",
      `
The command says how many sessions are left, and ends when the relay has stopped. Everything is on record and billed
then. Ctrl-C ends the command, but not the drain. If the relay drains already, --within changes nothing.

Examples:
  $ tollgate drain
  $ tollgate drain --within 600`,
    )
    .action(async ({ within }: { within?: number }, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      await askRelay(config, "POST", "/drain", within === undefined ? {} : { withinS: within });
      let said: number | undefined;
      for (;;) {
        const answer = await askControl(controlPath(config.data), "GET", "/sessions");
        if (!answer.ok && answer.error.absent) break;
        // While it closes, the relay may end the connection before it has answered.
        const left = answer.ok && Array.isArray(answer.value) ? answer.value.length : said;
        if (left !== said) io.out(`draining: ${left} ${left === 1 ? "session" : "sessions"} left\n`);
        said = left;
        await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
      }
      io.out("the relay has stopped\n");
    });
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= MAX_DRAIN_S))
    throw new InvalidArgumentError(`It has to be seconds from 0 to ${MAX_DRAIN_S}.`);
  return value;
}
