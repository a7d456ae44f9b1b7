import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/* What Linux says about a process. */

const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"], { encoding: "utf8" }));

/** CPU that these processes have used so far, user and system together, in microseconds (steps of 10 ms). */
export function cpuUs(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    // The name, in parentheses, may hold anything; utime and stime are fields 14 and 15 (proc(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return (ticks / TICKS_PER_SECOND) * 1e6;
}

/**
 * Memory of these processes in bytes; pages that several share count once (proportional set size). Without what is only
 * a file's contents, such as program code and LMDB's pages: the system takes that back whenever it likes.
 */
export function memoryBytes(pids: readonly number[]): number {
  let kB = 0;
  for (const pid of pids) {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    for (const kind of ["Pss_Anon", "Pss_Shmem"])
      kB += Number(new RegExp(`^${kind}:\\s+(\\d+)`, "m").exec(rollup)?.[1] ?? 0);
  }
  return kB * 1024;
}

/** That process and those that it started. */
export function family(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return [pid, ...(children === "" ? [] : children.split(" ").flatMap((child) => family(Number(child))))];
}
