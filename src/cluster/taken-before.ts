import { type Clock, pause } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { NodeRun } from "./beat.ts";
import { LISTEN_MS } from "./finding-out.ts";
import type { Members } from "./members.ts";
import type { Whose } from "./whose.ts";
import type { Witness } from "./witness.ts";

/** How long a node that starts waits for the others' answers. A node that is up answers within some milliseconds. */
const ANSWERS_MS = 2_000;
/** How often it looks for those that have called it dead. */
const CLAIMERS_MS = 200;

interface Asking {
  readonly self: NodeRun;
  readonly members: Pick<Members, "others">;
  readonly witness: Pick<Witness, "claimers" | "heirsOf"> | undefined;
  readonly whose: Pick<Whose, "ask">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** For a node that starts, and hears the others: which sessions of its run before have they taken up? */
export async function takenBefore(asking: Asking): Promise<ReadonlySet<string>> {
  const { members, whose } = asking;
  await claimersAreThere(asking);
  const answers = (await whose.ask(() => members.others(), { withinMs: ANSWERS_MS, afterMs: LISTEN_MS })) ?? [];
  return new Set(answers.flatMap(({ sessions }) => sessions));
}

/** Others have called the run before dead, and may act for its sessions: each of them is heard, or dead itself. */
async function claimersAreThere({ self, members, witness, clock, log }: Asking): Promise<void> {
  const seen = new Set([self.node, ...((await witness?.claimers()) ?? [])]);
  let missed = [...seen];
  for (let tries = 0; witness; tries++) {
    const left: string[] = [];
    for (const node of missed) {
      if (node === self.node || members.others().includes(node)) continue;
      const heirs = await witness.heirsOf(node);
      left.push(...(heirs?.filter((heir) => !seen.has(heir)) ?? [node]));
      for (const heir of heirs ?? []) seen.add(heir);
    }
    missed = left;
    if (missed.length === 0) return;
    if (tries === 1) log.warn({ nodes: missed }, "cluster: nodes that may have this one's sessions are not heard");
    await pause(clock, CLAIMERS_MS);
  }
}
