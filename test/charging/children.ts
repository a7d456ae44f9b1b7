import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** What a process under test said, line by line. */
export interface Child {
  readonly lines: string[];
  /** Resolves when it has said so many lines, or has ended. */
  said(lines: number): Promise<void>;
  /** kill -9. Resolves when it has ended and every line is here. */
  kill(): Promise<void>;
  /** Resolves with the exit code when it has ended by itself. */
  readonly ended: Promise<number | null>;
}

/** Runs node; with `fileLimitKb` no file of its may grow beyond that, as on a disk that is full. */
export function run(args: readonly string[], { fileLimitKb }: { readonly fileLimitKb?: number } = {}): Child {
  const limited = ["-c", `trap '' XFSZ; ulimit -f ${fileLimitKb}; exec "$@"`, "bash", process.execPath, ...args];
  const stdio = ["ignore", "pipe", "ignore"] as const;
  const child: ChildProcess =
    fileLimitKb === undefined
      ? spawn(process.execPath, args, { stdio: [...stdio] })
      : spawn("bash", limited, { stdio: [...stdio] });
  const lines: string[] = [];
  let waits: { readonly count: number; readonly resolve: () => void }[] = [];
  let over = false;
  const settle = () => {
    const ready = waits.filter(({ count }) => over || lines.length >= count);
    waits = waits.filter((wait) => !ready.includes(wait));
    for (const { resolve } of ready) resolve();
  };
  const reader = createInterface({ input: child.stdout! });
  reader.on("line", (line) => {
    lines.push(line);
    settle();
  });
  const ended = new Promise<number | null>((resolve) => {
    child.on("close", (code) => {
      over = true;
      settle();
      resolve(code);
    });
  });
  return {
    lines,
    ended,
    said: (count) =>
      new Promise((resolve) => {
        waits.push({ count, resolve });
        settle();
      }),
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** The second words of the lines that begin with `what`. */
export function named(lines: readonly string[], what: string): string[] {
  return lines.flatMap((line) => (line.startsWith(`${what} `) ? [line.split(" ")[1]!] : []));
}
