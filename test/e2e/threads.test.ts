import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { startRelayProcess } from "../support/relay-process.ts";

/** How far each thread of a process steps back (nice), with that of its main thread first. */
function nices(pid: number): number[] {
  const of = (thread: string) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16]);
  };
  const others = readdirSync(`/proc/${pid}/task`).filter((thread) => thread !== String(pid));
  return [of(String(pid)), ...others.map(of)];
}

describe("the threads of a relay's process", () => {
  it("but the main one step back before it", { timeout: 20_000 }, async ({ skip }) => {
    skip(process.platform !== "linux", "threads have a priority of their own on Linux");
    const relay = await startRelayProcess({ appServers: [] });
    try {
      const [main, ...others] = nices(relay.peer.pid);
      expect(others.length).toBeGreaterThan(3);
      expect(others.map((nice) => nice - main!)).toEqual(others.map(() => 10));
    } finally {
      await relay.remove();
    }
  });
});
