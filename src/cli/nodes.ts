import type { Command } from "commander";
import type { MemberView } from "../cluster/member-view.ts";
import { listNodes } from "../operations/running.ts";
import { ask } from "./ask.ts";
import { readConfig } from "./context.ts";
import { type Io, table } from "./io.ts";
import { remotely, remoteOf } from "./remote.ts";

/** `tollgate nodes`: who is in the cluster (P3). */
export function addNodesCommand(program: Command, io: Io): void {
  remotely(program.command("nodes"))
    .description("list the nodes of the cluster, as the relay that runs on this data folder sees them")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      `
STATE is up, draining (takes no new sessions), left (was stopped), dead (is not heard any more), or unheard: nobody can
know, since the node that was asked is cut off from NATS, or JetStream does not say that the other one is dead. PATIENCE
is how long the others wait for the node before they call it dead: more than 450 ms if its machine is too slow. STANDBYS is how many sessions of other nodes the node keeps
copies of. LAG is how far the copies of its own sessions are behind. BUSY is how much of the time its event loop works.
HEARD is how long ago it was heard. A node that is gone is listed for an hour.

Examples:
  $ tollgate nodes
  $ tollgate nodes --json`,
    )
    .action(async (options: { json?: boolean }, command: Command) => {
      const { nodes } = await ask(io, command, listNodes, {});
      if (options.json) io.out(`${JSON.stringify(nodes, null, 2)}\n`);
      else if (nodes.length > 0) io.out(table(COLUMNS, nodes.map(row)));
      else if (remoteOf(io, command) || readConfig(io, command.optsWithGlobals().config).config.bus === undefined)
        io.out("this relay is alone: nodes of a cluster share a NATS server (bus)\n");
      else io.out("no node is heard: NATS cannot be reached\n");
    });
}

const COLUMNS = [
  "NODE",
  "HOST",
  "ZONE",
  "VERSION",
  "STATE",
  "SESSIONS",
  "REQUESTS",
  "STANDBYS",
  "LAG",
  "BUSY",
  "HEARD",
  "PATIENCE",
];

const row = ({ node, host, zone, release, state, self, heardMsAgo, ...load }: MemberView): string[] => [
  self ? `${node} (this)` : node,
  host,
  zone === "" ? "-" : zone,
  release,
  state,
  String(load.sessions),
  String(load.requests),
  String(load.standbys),
  `${load.lagMs} ms`,
  `${load.busy} %`,
  heardMsAgo < 10_000 ? `${heardMsAgo} ms ago` : `${Math.round(heardMsAgo / 1000)} s ago`,
  `${load.patienceMs ?? 450} ms`,
];
