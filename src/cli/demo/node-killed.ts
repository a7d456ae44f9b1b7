import { setTimeout as pause } from "node:timers/promises";
import { monthOf } from "../../charging/money/months.ts";
import { createClient } from "../../sdk/index.ts";
import { systemClock } from "../../support/clock.ts";
import { eventually } from "./eventually.ts";
import type { Direction, Measured } from "./scenes.ts";
import { startSecondNode } from "./second-node.ts";
import { DOMAIN, type Stage } from "./stage.ts";

/** Of the lesson, before its node is killed. */
const BEFORE_MS = 1_200;
/** The relay's clock may be so far from the client's. */
const CLOCK_TOLERANCE_MS = 500;

/**
 * A lesson at a node that is killed in the middle of it (P3): another node goes on with its clock and its bill, and the
 * client, which knows both, comes back by it.
 */
export async function takeLessonAtNodeThatDies(stage: Stage, direction: Direction): Promise<Measured> {
  const { checks } = direction;
  const { running } = stage;
  const up = () => running.nodes().filter(({ state }) => state === "up").length;
  const node = await startSecondNode(stage.config, direction.passed);
  try {
    await eventually("the two nodes find each other", () => up() === 2);
    const alice = createClient({
      relay: [node.uri, stage.relay],
      user: stage.user,
      password: stage.password,
      domain: DOMAIN,
    });
    try {
      const session = await alice.request("spanish");
      const started = systemClock.monotonic();
      checks.equal("sessions at the node that stays", running.sessions().length, 0);
      await pause(BEFORE_MS);
      await node.kill();
      const killed = systemClock.monotonic();
      direction.note(`the node with the lesson (process ${node.pid}) is killed: SIGKILL`);
      const found = () => running.sessions().find(({ service }) => service === "spanish");
      await eventually("the other node takes the lesson up", () => found()?.durationMs !== undefined);
      const silence = Math.round(systemClock.monotonic() - killed);
      const { durationMs = 0 } = found() ?? {};
      const elapsed = systemClock.monotonic() - started;
      direction.note(`${silence} ms later the other node has it; its clock says ${(durationMs / 1000).toFixed(1)} s`);
      checks.that(
        Math.abs(durationMs - elapsed) <= CLOCK_TOLERANCE_MS,
        `clock of the lesson at the other node: ${durationMs} ms, the client measured ${Math.round(elapsed)} ms`,
      );
      const month = monthOf(Date.now());
      const items = async () =>
        (await running.store.billing.entries(stage.user, month, { limit: 100 })).entries.flatMap((entry) =>
          entry.kind === "item" && entry.service === "spanish" ? [`${entry.item} ${entry.amount}`] : [],
        );
      await eventually("what it charged before is billed", async () => (await items()).length > 0);
      direction.note(`on the bill so far: ${(await items()).join(", ")}`);
      for (let tries = 0; tries < 10 && !direction.hasRelayed("client", "200 OK (OPTIONS)"); tries++)
        await direction.relayed("client", "200 OK (OPTIONS)");
      direction.note("alice has come back by the other node");
      stage.ringBell();
      const ending = await session.ended;
      const elapsedMs = systemClock.monotonic() - started;
      checks.equal("end of the lesson whose node was killed", [ending.by, ending.status], ["remote", undefined]);
      direction.note(`the school hangs up after ${(elapsedMs / 1000).toFixed(1)} s`);
      return { session: session.id, elapsedMs };
    } finally {
      await alice.close();
    }
  } finally {
    await node.kill();
  }
}
