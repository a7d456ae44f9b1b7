import { silentText } from "../operations/missing.ts";
import type { Io } from "./io.ts";

/** Names the nodes that did not answer, where there are any. `what`: what is not in the answer for that. */
export function sayMissing(io: Io, missing: readonly string[] | undefined, what: string): void {
  if (missing && missing.length > 0) io.err(`${silentText(missing)}: ${what}\n`);
}
