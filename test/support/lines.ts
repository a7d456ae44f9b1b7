import type { Logger } from "../../src/support/log.ts";

export interface Line {
  readonly level: string;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the line says
  readonly facts: any;
}

/** A logger that keeps what is said, and what was said of one kind. */
export function keptLog(): { readonly log: Logger; readonly lines: Line[]; of(text: string): Line["facts"][] } {
  const lines: Line[] = [];
  const say = (level: string) => (facts: object | string, text?: string) => {
    lines.push(typeof facts === "string" ? { level, text: facts, facts: {} } : { level, text: text ?? "", facts });
  };
  const log: Logger = {
    trace: say("trace"),
    debug: say("debug"),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
    child: () => log,
    isLevelEnabled: () => true,
  };
  return { log, lines, of: (text) => lines.filter((line) => line.text === text).map(({ facts }) => facts) };
}
