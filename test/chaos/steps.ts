import { setTimeout as pause } from "node:timers/promises";
import type { Chance } from "../simulation/chance.ts";
import type { Platform } from "./nodes.ts";

/** What can be done to a cluster. `on`: the number of the node, worker or server that it is done to. */
export interface Step {
  readonly name: string;
  readonly target: "node" | "worker" | "nats" | "mongo";
  /** Resolves when all is as it was, and the others have had time to notice. */
  act(platform: Platform, on: number, chance: Chance): Promise<void>;
}

/** Until copies lie where they belong again. */
const SETTLE_MS = 1_500;

async function settled(act: () => Promise<void>): Promise<void> {
  await act();
  await pause(SETTLE_MS);
}

export const STEPS: readonly Step[] = [
  {
    name: "kill",
    target: "node",
    act: ({ nodes }, on, chance) =>
      settled(async () => {
        await nodes[on]!.kill();
        await pause(chance.between(0, 3_000));
        await nodes[on]!.start();
      }),
  },
  {
    name: "stop",
    target: "node",
    act: ({ nodes }, on, chance) =>
      settled(async () => {
        nodes[on]!.signal("SIGSTOP");
        await pause(chance.between(200, 4_000));
        nodes[on]!.signal("SIGCONT");
      }),
  },
  {
    name: "cut",
    target: "node",
    act: ({ nodes }, on, chance) =>
      settled(async () => {
        const node = nodes[on]!;
        node.link!.cut();
        node.cutAt = Date.now();
        await pause(chance.between(200, 4_000));
        node.cutAt = undefined;
        node.link!.mend();
      }),
  },
  {
    name: "restart",
    target: "node",
    act: ({ nodes }, on) =>
      settled(async () => {
        await nodes[on]!.end();
        await nodes[on]!.start();
      }),
  },
  {
    name: "drain",
    target: "node",
    act: ({ nodes }, on) =>
      settled(async () => {
        await nodes[on]!.command("drain", "--within", "3");
        await nodes[on]!.exited();
        await nodes[on]!.start();
      }),
  },
  {
    name: "kill NATS",
    target: "nats",
    act: async ({ nats }, on, chance) => {
      await nats[on]!.kill();
      await pause(chance.between(0, 3_000));
      await nats[on]!.start();
      await pause(SETTLE_MS);
    },
  },
  {
    name: "cut NATS",
    target: "nats",
    act: async ({ nats }, on, chance) => {
      nats[on]!.cut();
      await pause(chance.between(200, 8_000));
      nats[on]!.mend();
      await pause(SETTLE_MS);
    },
  },
  {
    name: "kill worker",
    target: "worker",
    act: async ({ workers }, on, chance) => {
      await workers[on]!.kill();
      await pause(chance.between(0, 3_000));
      await workers[on]!.start();
    },
  },
  {
    name: "kill MongoDB",
    target: "mongo",
    act: async ({ mongo }, _on, chance) => {
      await mongo.kill();
      await pause(chance.between(0, 2_000));
      await mongo.restart();
      await pause(SETTLE_MS);
    },
  },
];

/** What is done at one time: one thing, or two of which only one is done to a node. Never is anything done to all. */
export function draw(chance: Chance, steps: readonly Step[], platform: Platform): [Step, number][] {
  const many = { node: platform.nodes.length, worker: platform.workers.length, nats: platform.nats.length, mongo: 1 };
  const first = chance.of(steps);
  const drawn: [Step, number][] = [[first, chance.between(0, many[first.target] - 1)]];
  const others = steps.filter(({ target }) => target !== first.target);
  if (others.length > 0 && chance.percent(25)) {
    const second = chance.of(others);
    drawn.push([second, chance.between(0, many[second.target] - 1)]);
  }
  return drawn;
}
