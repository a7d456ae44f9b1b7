import { readdirSync, readFileSync } from "node:fs";
import type { Reporter, TestCase, TestModule } from "vitest/node";

/** For what has no limit that is known here: loading a file, its hooks. */
const OTHERWISE_MS = 180_000;
/** How long after its own limit a test may still be on its way here. */
const GRACE_MS = 60_000;
const LOOK_EVERY_MS = 5_000;

interface UnderWay {
  readonly file: string;
  readonly what: string;
  readonly dueAt: number;
}

/**
 * Ends files that stand still. A test's limit is kept by its own process, which cannot do so while it waits for a lock
 * or runs in circles; then the whole run would wait for it, for ever and without a word.
 */
export default class StandingStill implements Reporter {
  private readonly underWay = new Map<string, UnderWay>();
  /** Files that have ended. A test's result may come after its file's end. */
  private readonly over = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private readonly now: () => number;
  private readonly endWorkers: () => string[];

  constructor({ now = () => performance.now(), endWorkers = killWorkers } = {}) {
    this.now = now;
    this.endWorkers = endWorkers;
  }

  onTestRunStart(): void {
    this.over.clear();
    this.timer = setInterval(() => this.look(), LOOK_EVERY_MS);
  }

  onTestRunEnd(): void {
    clearInterval(this.timer);
  }

  onTestModuleQueued(module: TestModule): void {
    this.began(module, "its beginning", OTHERWISE_MS);
  }

  onTestCaseReady(test: TestCase): void {
    const { timeout = OTHERWISE_MS, retry } = test.options;
    const tries = 1 + (typeof retry === "number" ? retry : (retry?.count ?? 0));
    this.began(test.module, test.fullName, timeout * tries + GRACE_MS);
  }

  onTestCaseResult(test: TestCase): void {
    this.began(test.module, `what follows "${test.fullName}"`, OTHERWISE_MS);
  }

  onTestModuleEnd(module: TestModule): void {
    this.underWay.delete(module.moduleId);
    this.over.add(module.moduleId);
  }

  private began(module: TestModule, what: string, forMs: number): void {
    if (this.over.has(module.moduleId)) return;
    this.underWay.set(module.moduleId, { file: module.relativeModuleId, what, dueAt: this.now() + forMs });
  }

  look(): void {
    const still = [...this.underWay.values()].filter(({ dueAt }) => dueAt < this.now());
    if (still.length === 0) return;
    for (const { file, what } of still) console.log(`stands still, and is ended: ${file} > ${what}`);
    const others = [...this.underWay.values()].filter((one) => !still.includes(one));
    for (const { file } of others) console.log(`ended with it, since its process is not known apart: ${file}`);
    this.underWay.clear();
    for (const line of this.endWorkers()) console.log(`  killed: ${line}`);
  }
}

/** Kills the processes in which test files run. Says of each what it waited for. */
function killWorkers(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const [, state, parent] = /\) (\S) (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))!;
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
        if (Number(parent) !== process.pid || !command.includes("vitest")) return [];
        const waits = readFileSync(`/proc/${pid}/wchan`, "utf8");
        process.kill(Number(pid), "SIGKILL");
        return [`process ${pid}, ${state === "R" ? "running" : `waiting in ${waits}`}`];
      } catch {
        return []; // it has ended meanwhile
      }
    });
}
