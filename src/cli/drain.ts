import { type Command, InvalidArgumentError } from "commander";
import type { MemberView } from "../cluster/members.ts";
import { type Config, MAX_DRAIN_S } from "../config/schema.ts";
import { askControl, controlPath } from "../console/control.ts";
import { askRelay } from "./ask-relay.ts";
import { readConfig } from "./context.ts";
import type { Io } from "./io.ts";

const LOOK_AGAIN_MS = 250;

/** `tollgate drain`: stops a relay without cutting anybody off (P3). */
export function addDrainCommand(program: Command, io: Io): void {
  program
    .command("drain")
    .argument(
      "[node]",
      "another node of the cluster, as `tollgate nodes` names it; default: the relay on this data folder",
    )
    .description(
      "stop a relay: it takes no new sessions, gives its sessions to other nodes, and stops when none is left",
    )
    .option("--within <seconds>", "how long sessions may go on; then both ends get BYE (default: drainS)", seconds)
    .addHelpText(
      "after",
      `
In a cluster the sessions go to other nodes, one by one; nobody is cut off. The command says how many sessions are left,
and ends when the relay has stopped. Everything is on record and billed then. Ctrl-C ends the command, but not the drain. If the relay drains already, --within changes nothing.

Examples:
  $ tollgate drain
  $ tollgate drain --within 600
  $ tollgate drain 4f0c2a`,
    )
    .action(async (node: string | undefined, { within }: { within?: number }, command: Command) => {
      const { config } = readConfig(io, command.optsWithGlobals().config);
      if (node !== undefined && !(await isThis(config, node))) {
        await drainAnother(config, node, within, io);
        return;
      }
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

const nodesOf = async (config: Config) => (await askRelay(config, "GET", "/nodes")) as MemberView[];

const isThis = async (config: Config, name: string): Promise<boolean> =>
  (await nodesOf(config)).some(({ node, self }) => self && node === name);

/** Has another node drained, and says how it goes as that node tells the others. */
async function drainAnother(config: Config, node: string, within: number | undefined, io: Io): Promise<void> {
  await askRelay(config, "POST", "/drain", { node, ...(within !== undefined && { withinS: within }) });
  let said: number | undefined;
  for (;;) {
    const view = (await nodesOf(config)).find((one) => one.node === node);
    if (!view || view.state === "left" || view.state === "dead") break;
    if (view.sessions !== said)
      io.out(`draining: ${view.sessions} ${view.sessions === 1 ? "session" : "sessions"} left\n`);
    said = view.sessions;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
  io.out(`node ${node} has stopped\n`);
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= MAX_DRAIN_S))
    throw new InvalidArgumentError(`It has to be seconds from 0 to ${MAX_DRAIN_S}.`);
  return value;
}
