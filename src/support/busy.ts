import { type EventLoopUtilization, performance } from "node:perf_hooks";

/** For how much of the time since the last question the event loop was busy, of 1. */
export function busySince(): () => number {
  let before: EventLoopUtilization | undefined;
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}
