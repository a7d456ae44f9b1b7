import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { printable } from "../charging/bills/format.ts";

/** What a command needs of its surroundings. Tests give their own. */
export interface Io {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  out(text: string): void;
  err(text: string): void;
  /** Resolves when what was printed is on its way, so that a long output is not gathered in memory. */
  readonly flushed?: () => Promise<void>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Told when the relay takes calls. */
  readonly started?: () => void;
  /** Calls `fn` at each such signal; returns how to stop that. */
  onSignal(signal: "SIGTERM" | "SIGINT" | "SIGHUP", fn: () => void): () => void;
  /**
   * Calls `fn` with the reason of each rejected promise that nobody awaits. Such a rejection then does not end the
   * process. Returns how to stop that.
   */
  onUnhandledRejection(fn: (error: unknown) => void): () => void;
}

/** Resolves with Ctrl-C, or when the process is asked to end. */
export const stopAsked = (io: Pick<Io, "onSignal">): Promise<void> =>
  new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) io.onSignal(signal, resolve);
  });

const DONE = Promise.resolve();

/**
 * Whoever reads what is printed may stop reading, as `head` does. That is no error: the command ends, as if all had
 * been read. With `goesOn`, as for a relay whose log nobody reads any more, the process goes on.
 */
export function endWithReader(goesOn: boolean, { stdout, stderr, exit }: PipeProcess = process): void {
  for (const stream of [stdout, stderr])
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      if (!goesOn && stream === stdout) exit(EXIT.ok);
    });
}

type PipeProcess = Pick<NodeJS.Process, "stdout" | "stderr" | "exit">;

export const processIo: Io = {
  stdin: process.stdin,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  flushed: () =>
    process.stdout.writableNeedDrain ? new Promise((resolve) => process.stdout.once("drain", resolve)) : DONE,
  env: process.env,
  cwd: process.cwd(),
  onSignal(signal, fn) {
    process.on(signal, fn);
    return () => process.off(signal, fn);
  },
  onUnhandledRejection(fn) {
    process.on("unhandledRejection", fn);
    return () => process.off("unhandledRejection", fn);
  },
};

const PRINT_AT_ONCE = 65_536;

/** Prints the pieces of a text, some 64 kB at a time. */
export async function printAll(io: Io, parts: AsyncIterable<string>): Promise<void> {
  let text = "";
  for await (const part of parts) {
    text += part;
    if (text.length < PRINT_AT_ONCE) continue;
    io.out(text);
    text = "";
    await io.flushed?.();
  }
  io.out(text);
}

export const EXIT = { ok: 0, failure: 1, usage: 2 } as const;

/** Ends a command with a message for its user: what is wrong, and what to do. */
export class CliError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.failure) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * A new user's password: a line of standard input (`fromStdin`), TOLLGATE_PASSWORD, or typed twice at the terminal
 * without being shown. It is never an argument, since everybody on the machine can see arguments.
 */
export async function readPassword(io: Io, fromStdin: boolean): Promise<string> {
  const fromEnv = io.env.TOLLGATE_PASSWORD;
  const password = fromStdin
    ? await readLine(io)
    : fromEnv !== undefined && fromEnv !== ""
      ? fromEnv
      : await askTwice(io);
  if (password === "") throw new CliError("the password is empty", EXIT.usage);
  if (Buffer.byteLength(password) > 1024) throw new CliError("the password has more than 1,024 bytes", EXIT.usage);
  return password;
}

async function readLine(io: Io): Promise<string> {
  const lines = createInterface({ input: io.stdin, crlfDelay: Infinity });
  try {
    for await (const line of lines) return line;
    return "";
  } finally {
    lines.close();
  }
}

async function askTwice(io: Io): Promise<string> {
  if (io.stdin.isTTY !== true) {
    throw new CliError(
      "no terminal to ask for the password: use --password-stdin, or set TOLLGATE_PASSWORD",
      EXIT.usage,
    );
  }
  const first = await ask(io, "Password: ");
  const second = await ask(io, "Again: ");
  if (first !== second) throw new CliError("the two passwords differ", EXIT.usage);
  return first;
}

function ask(io: Io, question: string): Promise<string> {
  // With an output that drops everything, readline edits the line but shows nothing of it.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: io.stdin, output: silent, terminal: true });
  io.err(question); // only now: from here on the terminal shows nothing of what is typed
  return new Promise((resolve, reject) => {
    lines.once("SIGINT", () => {
      lines.close();
      reject(new CliError("interrupted"));
    });
    lines.question("", (answer) => {
      lines.close();
      io.err("\n");
      resolve(answer);
    });
  });
}

/** Rows under headings in columns; the last column is not padded. No text in a cell can move the cursor. */
export function table(headings: readonly string[], cells: readonly (readonly string[])[]): string {
  const rows = cells.map((row) => row.map(printable));
  const widths = headings.map((heading, i) => Math.max(heading.length, ...rows.map((row) => (row[i] ?? "").length)));
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => (i === cells.length - 1 ? cell : cell.padEnd(widths[i]!))).join("  ");
  return `${[headings, ...rows].map((row) => line(row).trimEnd()).join("\n")}\n`;
}
