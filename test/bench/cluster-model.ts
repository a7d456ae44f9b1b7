import type { ClusterFigures } from "./cluster.ts";

/* What follows from the measured costs of small clusters: what replication adds, and what a large cluster carries. */

/** The medians of several rounds, and all that failed in them. */
export function median(rounds: readonly ClusterFigures[]): ClusterFigures {
  const of = (name: Exclude<keyof ClusterFigures, "nodes" | "failed">) => {
    const sorted = rounds.map((one) => one[name]).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)]!;
  };
  return {
    nodes: rounds[0]!.nodes,
    relays: of("relays"),
    nats: of("nats"),
    worker: of("worker"),
    mongo: of("mongo"),
    idle: of("idle"),
    failed: rounds.reduce((sum, { failed }) => sum + failed, 0),
  };
}

/** Nodes gather what they tell all others for 10 ms: no node sends more such messages, however many calls it has. */
const TOLD_PER_S = 100;
const LARGE = 50;
/** Of a core, what may be in use. */
const FULL = 0.7;

/** Each a paragraph. */
export function modelOf(all: readonly ClusterFigures[]): string[] {
  const [one, two, three] = [1, 2, 3].map((nodes) => all.find((figures) => figures.nodes === nodes));
  if (!one || !two || !three) return [];
  const added = two.relays - one.relays;
  // A session has one standby, however many nodes there are. What grows with their number is what all are told.
  const grows = three.relays - two.relays;
  const idleOfNode = three.idle / three.nodes / 100;
  const idlePerOther = Math.max(0, three.idle / 3 - two.idle / 2) / 100;
  const idleLarge = idleOfNode + idlePerOther * (LARGE - three.nodes);
  const carries = (costUs: number) => Math.max(0, Math.round(((FULL - idleLarge) * 1e6) / costUs));
  const [most, least] = [carries(two.relays), carries(two.relays + Math.max(0, grows) * (LARGE - 2))];
  const whole = most * LARGE;
  const cores = (costUs: number) => ((whole * costUs) / 1e6 / FULL).toFixed(1);
  const parts = [
    { what: "NATS", costUs: three.nats },
    { what: "the billing workers", costUs: three.worker },
    { what: "MongoDB", costUs: three.mongo },
  ].sort((a, b) => b.costUs - a.costUs);
  const off = ((100 * grows) / two.relays).toFixed(0);
  return [
    `Replication adds ${added.toFixed(0)} µs a call to the relays, ${((100 * added) / one.relays).toFixed(0)} %: ` +
      "the copies at the owner, and the standby that takes them.",
    `Check: a call has one standby, so three nodes should cost what two do, ${two.relays.toFixed(0)} µs; ` +
      `measured are ${three.relays.toFixed(0)} (${off} %).`,
    `A cluster of ${LARGE} nodes, one core each, ${100 * FULL} % used: ${idleLarge.toFixed(2)} of a core for the others' ` +
      `beats; ${most} calls a second and node, ${whole} in all. If what was measured above two nodes is no noise but ` +
      `grows with each node, ${least} a node. What nodes tell all others is gathered: at most ${TOLD_PER_S} messages a ` +
      `second and node, so ${TOLD_PER_S * (LARGE - 1)} come to each.`,
    `For that: ${parts.map(({ what, costUs }) => `${cores(costUs)} cores of ${what}`).join(", ")}. ` +
      `${parts[0]!.what} saturates first.`,
  ];
}
