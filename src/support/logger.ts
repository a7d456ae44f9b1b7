import { type DestinationStream, destination, type Logger as PinoLogger, pino, stdSerializers, symbols } from "pino";
import type { Logger } from "./log.ts";

export interface LoggerOptions {
  readonly level: "trace" | "debug" | "info" | "warn" | "error" | "silent";
  /** True: lines for people instead of JSON. `auto`: only if the output is a terminal. */
  readonly pretty: boolean | "auto";
  /** Where the log goes; default standard output. */
  readonly to?: DestinationStream & { readonly isTTY?: boolean };
}

/** Facts that no log may show: passwords, and what can be used like one. */
const SECRETS: ReadonlySet<string> = new Set(["password", "authorization", "Authorization", "ha1", "secret"]);
const CENSORED = "[redacted]";
/** How deep the facts go that are logged, and as deep secrets are looked for. */
const DEEPEST = 2;

/**
 * The facts without secrets. Pino's own `redact` does the same in 46 µs for a line of a call's record, which is a tenth
 * of what the whole call costs.
 */
function censored<T extends object>(facts: T, depth = DEEPEST): T {
  if (ArrayBuffer.isView(facts)) return facts;
  let copy: Record<string, unknown> | undefined;
  for (const key of Object.keys(facts)) {
    const value = (facts as Record<string, unknown>)[key];
    let shown = value;
    if (SECRETS.has(key)) shown = CENSORED;
    else if (depth > 0 && typeof value === "object" && value !== null) shown = censored(value, depth - 1);
    if (shown === value) continue;
    copy ??= copyOf(facts);
    copy[key] = shown;
  }
  return (copy as T | undefined) ?? facts;
}

function copyOf(facts: object): Record<string, unknown> {
  const copy = facts instanceof Error ? stdSerializers.err(facts) : facts;
  return (Array.isArray(copy) ? [...copy] : { ...copy }) as Record<string, unknown>;
}

/** A pino logger that writes JSON lines, or lines for people. */
export function createLogger({ level, pretty, to }: LoggerOptions): Logger {
  const options = {
    level,
    base: null,
    timestamp,
    formatters: {
      level: (label: string) => ({ level: label }),
      log: (facts: Record<string, unknown>) => censored(facts),
    },
  };
  const terminal = to === undefined ? process.stdout.isTTY === true : to.isTTY === true;
  if (pretty === true || (pretty === "auto" && terminal)) {
    const out = to ?? process.stdout;
    return withCensoredChildren(pino(options, { write: (line) => void out.write(prettyLine(line, terminal)) }));
  }
  return withCensoredChildren(withFlatLines(pino(options, to ?? new Lines())));
}

let lastMs = -1;
let lastText = "";

function timestamp(): string {
  const now = Date.now();
  if (now !== lastMs) {
    lastMs = now;
    lastText = `,"time":"${new Date(now).toISOString()}"`;
  }
  return lastText;
}

/**
 * Standard output, written once in a turn of the event loop: the records of calls come by the hundred, and to write
 * each line by itself takes longer than to make it.
 */
class Lines {
  private readonly out = destination({ dest: 1, sync: false });
  private waiting: string[] = [];

  constructor() {
    // Behind pino's own listener, which writes what `out` has.
    process.on("exit", () => {
      if (this.waiting.length === 0) return;
      this.hand();
      this.out.flushSync();
    });
  }

  write(line: string): void {
    if (this.waiting.push(line) === 1) setImmediate(this.hand);
  }

  private readonly hand = (): void => {
    const { waiting } = this;
    this.waiting = [];
    if (waiting.length > 0) this.out.write(waiting.length === 1 ? waiting[0]! : waiting.join(""));
  };
}

const { asJsonSym, lsCacheSym, chindingsSym } = symbols as Record<string, symbol>;

/** What pino keeps in a logger, as far as a line is made of it. */
interface Inside {
  [name: symbol]: unknown;
}

/**
 * A line of plain facts, texts and numbers and no more, is made by JSON.stringify. It is the same line as pino's, in a
 * third of the time. All others are left to pino.
 */
function withFlatLines(logger: PinoLogger): PinoLogger {
  const inside = logger as unknown as Inside;
  const byPino = inside[asJsonSym!] as (facts: object, text: unknown, level: number, time: string) => string;
  // A child inherits this from its parent.
  inside[asJsonSym!] = function (this: Inside, facts: object, text: unknown, level: number, time: string): string {
    if (!isFlat(facts) || (text !== undefined && typeof text !== "string"))
      return byPino.call(this, facts, text, level, time);
    const begin = (this[lsCacheSym!] as Record<number, string>)[level]! + time + (this[chindingsSym!] as string);
    const json = JSON.stringify(facts);
    const message = text === undefined ? "" : `,"msg":${JSON.stringify(text)}`;
    return `${begin}${json.length > 2 ? `,${json.slice(1, -1)}` : ""}${message}}\n`;
  };
  return logger;
}

function isFlat(facts: object): boolean {
  if (facts instanceof Error) return false;
  for (const key in facts) {
    const type = typeof (facts as Record<string, unknown>)[key];
    if (type !== "string" && type !== "number" && type !== "boolean" && type !== "undefined") return false;
    if (SECRETS.has(key)) return false;
  }
  return true;
}

/** Pino's formatters see what is logged, but not the facts that a child adds to each line. */
function withCensoredChildren(logger: PinoLogger): PinoLogger {
  const { child } = logger;
  // A child inherits this from its parent.
  logger.child = function (this: PinoLogger, facts: object) {
    return child.call(this, censored(facts));
  } as PinoLogger["child"];
  return logger;
}

const COLOURS: Readonly<Record<string, number>> = { trace: 90, debug: 90, info: 32, warn: 33, error: 31, fatal: 31 };

/** `12:34:56.789 info  listening  transport=udp address=127.0.0.1`. */
export function prettyLine(json: string, colour: boolean): string {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(json) as Record<string, unknown>;
  } catch {
    return json;
  }
  const { level, time, msg, err, ...rest } = record;
  const name = String(level).padEnd(5);
  const shown = colour ? `\u001b[${COLOURS[String(level)] ?? 0}m${name}\u001b[0m` : name;
  const fields = Object.entries(rest).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  let line = `${String(time).slice(11, 23)} ${shown} ${[printable(String(msg ?? "")), ...fields.map(printable)].join("  ")}\n`;
  if (typeof err === "object" && err !== null) {
    const { stack, message } = err as { stack?: string; message?: string };
    line += `${readable(stack ?? message ?? JSON.stringify(err))}\n`;
  }
  return line;
}

/** Text from the network must not control the terminal, nor look like another log line. */
const printable = (text: string): string => text.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, "?");

/** An error's message, made printable since it may hold text of a peer, and the lines of its stack. */
function readable(stack: string): string {
  const calls = stack.search(/\n\s+at /);
  if (calls < 0) return printable(stack);
  const lines = stack.slice(calls + 1).split("\n");
  return [printable(stack.slice(0, calls)), ...lines.map(printable)].join("\n");
}
