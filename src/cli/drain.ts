import { setTimeout as pause } from "node:timers/promises";
import { type Command, InvalidArgumentError } from "commander";
import type { MemberView } from "../cluster/member-view.ts";
import { MAX_DRAIN_S } from "../config/terms.ts";
import { askControl, controlPaths } from "../console/control.ts";
import { drainNode, listNodes, showStatus } from "../operations/running.ts";
import { ask, askEach } from "./ask.ts";
import { readConfig } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";
import { remotely, remoteOf } from "./remote.ts";

const LOOK_AGAIN_MS = 250;

/** `tollgate drain`: stops a relay without cutting anybody off (P3). */
export function addDrainCommand(program: Command, io: Io): void {
  remotely(program.command("drain"))
    .argument(
      "[node]",
      "another node of the cluster, as `tollgate nodes` names it; default: the relay on this data folder",
    )
    .description(
      "stop a relay: it takes no new sessions, gives its sessions to other nodes, and stops when none is left",
    )
    .option("--within <seconds>", "how long sessions may go on here (default: drainS)", seconds)
    .addHelpText(
      "after",
      `
In a cluster the sessions go to other nodes, one by one; nobody is cut off. Where there is no other node, both ends get
BYE when the time is over. The command says how many sessions are left, and ends when the relay has stopped. Everything is on record and billed then. Ctrl-C ends the command, but not the drain. If the relay drains already, --within changes nothing.

Examples:
  $ tollgate drain
  $ tollgate drain --within 600
  $ tollgate drain 4f0c2a`,
    )
    .action(async (node: string | undefined, { within }: { within?: number }, command: Command) => {
      if (node !== undefined && !(await isThis(io, command, node))) {
        await drainAnother(io, command, node, within);
        return;
      }
      if (remoteOf(io, command)) {
        if (node === undefined) throw new CliError("with --remote: which node? see: tollgate nodes", EXIT.usage);
        await ask(io, command, drainNode, { node, withinS: within });
        io.out(`node ${node} drains\n`); // it cannot be asked any more when it has stopped
        return;
      }
      await askEach(io, command, drainNode, { node: "self", withinS: within });
      const { config } = readConfig(io, command.optsWithGlobals().config);
      const say = leftTeller(io);
      for (;;) {
        const asked = controlPaths(config.data).map((path) => askControl(path, showStatus.method, showStatus.path));
        const there = (await Promise.all(asked)).filter((answer) => answer.ok || !answer.error.absent);
        if (there.length === 0) break;
        const left = there.map((answer) =>
          answer.ok ? (answer.value as { gauges: Record<string, number> }).gauges.sessions : undefined,
        );
        // While it closes, a relay may end the connection before it has answered.
        if (!left.includes(undefined)) say(left.reduce((sum: number, one) => sum + (one ?? 0), 0));
        await pause(LOOK_AGAIN_MS);
      }
      io.out("the relay has stopped\n");
    });
}

const nodesOf = async (io: Io, command: Command): Promise<MemberView[]> =>
  (await ask(io, command, listNodes, {})).nodes;

const isThis = async (io: Io, command: Command, name: string): Promise<boolean> =>
  name === "self" || (await nodesOf(io, command)).some(({ node, self }) => self && node === name);

/** Has another node drained, and says how it goes as that node tells the others: first, what it has now. */
async function drainAnother(io: Io, command: Command, node: string, within: number | undefined): Promise<void> {
  const say = leftTeller(io);
  const seen = async () => (await nodesOf(io, command)).find((one) => one.node === node);
  const before = await seen();
  await ask(io, command, drainNode, { node, withinS: within });
  if (before?.state === "up") say(before.sessions);
  for (;;) {
    const view = await seen();
    if (!view || view.state === "left" || view.state === "dead") break;
    say(view.sessions);
    await pause(LOOK_AGAIN_MS);
  }
  io.out(`node ${node} has stopped\n`);
}

/** Says how many sessions are left, each time when that has changed. */
function leftTeller(io: Io): (left: number) => void {
  let said: number | undefined;
  return (left) => {
    if (left !== said) io.out(`draining: ${left} ${left === 1 ? "session" : "sessions"} left\n`);
    said = left;
  };
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0 && value <= MAX_DRAIN_S))
    throw new InvalidArgumentError(`It has to be seconds from 0 to ${MAX_DRAIN_S}.`);
  return value;
}
