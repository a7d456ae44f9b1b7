import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { Io } from "../../src/cli/io.ts";
import { run } from "../../src/cli/program.ts";

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A folder of its own in which `tollgate` commands are run, with what they print. */
export class Terminal {
  readonly folder = mkdtempSync(join(tmpdir(), "tg-"));
  private readonly listeners = new Map<string, Set<() => void>>();
  private readonly rejections = new Set<(error: unknown) => void>();

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text);
  }

  async tollgate(
    argv: readonly string[],
    given: { stdin?: string; env?: Record<string, string> } = {},
    heard: (text: string) => void = () => {},
  ): Promise<Outcome> {
    let out = "";
    let err = "";
    const io: Io = {
      stdin: Readable.from(given.stdin === undefined ? [] : [given.stdin]),
      out: (text) => {
        out += text;
        heard(text);
      },
      err: (text) => {
        err += text;
        heard(text);
      },
      env: given.env ?? {},
      cwd: this.folder,
      onSignal: (signal, fn) => this.onSignal(signal, fn),
      onUnhandledRejection: (fn) => this.onUnhandledRejection(fn),
    };
    const code = await run(argv, io);
    return { code, out, err };
  }

  /** An Io for code below the command line; what it prints goes nowhere. */
  quietIo(): Io {
    return {
      stdin: Readable.from([]),
      out: () => {},
      err: () => {},
      env: {},
      cwd: this.folder,
      onSignal: (signal, fn) => this.onSignal(signal, fn),
      onUnhandledRejection: (fn) => this.onUnhandledRejection(fn),
    };
  }

  signal(name: "SIGTERM" | "SIGINT" | "SIGHUP"): void {
    for (const fn of this.listeners.get(name) ?? []) fn();
  }

  /** How many wait for a signal. */
  get listening(): number {
    return [...this.listeners.values()].reduce((count, set) => count + set.size, 0);
  }

  /**
   * What Node does where nobody awaits a promise that is rejected. False: nobody heard it, and the process would end.
   */
  rejection(error: unknown): boolean {
    for (const fn of this.rejections) fn(error);
    return this.rejections.size > 0;
  }

  private onUnhandledRejection(fn: (error: unknown) => void): () => void {
    this.rejections.add(fn);
    return () => this.rejections.delete(fn);
  }

  private onSignal(signal: string, fn: () => void): () => void {
    const set = this.listeners.get(signal) ?? new Set();
    this.listeners.set(signal, set.add(fn));
    return () => set.delete(fn);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
