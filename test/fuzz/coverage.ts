import { type Profiler, Session } from "node:inspector/promises";

const MOST_CHARACTERS = 1_000_000;

/** Which parts of the code have run so far: V8's own count, by block. */
export class Coverage {
  private readonly session = new Session();
  /** For each file, which of its characters belong to code that has run. */
  private readonly files = new Map<string, Uint8Array>();
  private readonly part: string;
  private covered = 0;

  /** `part`: of the paths of the files that count. */
  constructor(part: string) {
    this.part = part;
  }

  async start(): Promise<void> {
    this.session.connect();
    await this.session.post("Profiler.enable");
    await this.session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** How many characters of code have run for the first time since the last look. */
  async fresh(): Promise<number> {
    const { result } = (await this.session.post(
      "Profiler.takePreciseCoverage",
    )) as Profiler.TakePreciseCoverageReturnType;
    const before = this.covered;
    for (const { url, functions } of result) {
      if (!url.includes(this.part)) continue;
      const file = this.files.get(url) ?? new Uint8Array(MOST_CHARACTERS);
      this.files.set(url, file);
      for (const { ranges } of functions) this.note(file, ranges);
    }
    return this.covered - before;
  }

  /** The first range is the function's, and those within it count for themselves. */
  private note(file: Uint8Array, ranges: readonly Profiler.CoverageRange[]): void {
    const [whole] = ranges;
    if (!whole || whole.count === 0) return;
    const runs = new Uint8Array(whole.endOffset - whole.startOffset);
    for (const { startOffset, endOffset, count } of ranges)
      runs.fill(count > 0 ? 1 : 0, startOffset - whole.startOffset, endOffset - whole.startOffset);
    for (let i = 0; i < runs.length; i++) {
      const at = whole.startOffset + i;
      if (runs[i] === 0 || file[at] === 1) continue;
      file[at] = 1;
      this.covered++;
    }
  }

  get size(): number {
    return this.covered;
  }

  stop(): void {
    this.session.disconnect();
  }
}
