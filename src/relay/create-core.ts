import type { Core } from "./core.ts";
import { requestLogic } from "./request.ts";
import { sessionLogic } from "./session-actions.ts";

/** What a core is made of; the rest begins empty. */
export type CoreParts = Pick<
  Core,
  | "config"
  | "clock"
  | "random"
  | "log"
  | "transport"
  | "transactions"
  | "directory"
  | "authenticator"
  | "recorder"
  | "resolve"
  | "proof"
>;

export function createCore(parts: CoreParts): Core {
  const requests: Core["requests"] = new Map();
  const sessions: Core["sessions"] = new Map();
  return {
    ...parts,
    requestLogic: requestLogic(requests),
    sessionLogic: sessionLogic(sessions),
    requests,
    sessions,
    legs: new Map(),
    legsByFlow: new Map(),
    ending: new Set(),
    counters: {
      requests: 0,
      rejected: 0,
      cancelled: 0,
      answered: 0,
      established: 0,
      ended: 0,
      charges: 0,
      chargesRefused: 0,
      crashed: 0,
    },
    draining: false,
  };
}
