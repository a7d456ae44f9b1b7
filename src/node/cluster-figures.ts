import type { Copies } from "../cluster/copies.ts";
import type { Fence } from "../cluster/fence.ts";
import type { GiveAway } from "../cluster/give-away.ts";
import type { HandOver } from "../cluster/hand-over.ts";
import type { Heart } from "../cluster/heart.ts";
import type { Holder } from "../cluster/holder.ts";
import type { Members } from "../cluster/members.ts";
import type { Shared } from "../cluster/shared.ts";
import type { TakeUp } from "../cluster/take-up.ts";
import type { Witness } from "../cluster/witness.ts";

/* What monitoring is told of the cluster: figures by their names, as the parts of the node have them. */

export function countersOf(parts: {
  readonly heart: Heart;
  readonly shared: Shared | undefined;
  readonly witness: Witness | undefined;
  readonly handOver: HandOver | undefined;
}): Readonly<Record<string, number>> {
  const { heart, shared, witness, handOver } = parts;
  const { handed = 0, taken = 0, unknown = 0 } = handOver?.stats ?? {};
  return {
    ...shared?.counters(),
    clusterBusRenewed: heart.renewed,
    ...(witness && { clusterWitnessFailures: witness.failures }),
    clusterHanded: handed,
    clusterTaken: taken,
    clusterUnknown: unknown,
  };
}

export function gaugesOf(parts: {
  readonly members: Members;
  readonly holder: Holder;
  readonly keeper: Copies | undefined;
  readonly fence: Fence | undefined;
  readonly takeUp: TakeUp | undefined;
  readonly away: GiveAway | undefined;
}): Readonly<Record<string, number>> {
  const { members, holder, keeper, fence, takeUp, away } = parts;
  return {
    clusterNodesUp: members.up,
    clusterCutOff: members.cutOff ? 1 : 0,
    clusterPatienceMs: members.patienceMs,
    clusterMissed: members.missed,
    clusterStandbys: holder.size,
    ...(keeper && {
      clusterCopied: keeper.size,
      clusterWithoutStandby: keeper.withoutStandby,
      clusterLagMs: keeper.lagMs,
      clusterCopiesLate: keeper.late,
      clusterEventsCopied: keeper.events.size,
    }),
    ...(takeUp && { clusterTakenUp: takeUp.taken, clusterGivenAway: away?.count ?? 0 }),
    ...(fence && { clusterSilent: fence.open ? 0 : 1, clusterSilences: fence.stats.shut }),
  };
}
