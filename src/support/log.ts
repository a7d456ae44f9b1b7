import type { Logger as PinoLogger } from "pino";

/** The structured logger that every part receives; `call` is the correlation id that runs through both legs of a session. */
export type Logger = Pick<PinoLogger, "trace" | "debug" | "info" | "warn" | "error" | "child" | "isLevelEnabled">;
