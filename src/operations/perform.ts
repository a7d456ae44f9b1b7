import type { AuditEntry } from "../calls/audit.ts";
import { systemRandom, timeOrderedId } from "../support/random.ts";
import type { OperationContext } from "./context.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, checkedInput, namesIn } from "./operation.ts";

/** The same reading by the same reader is noted once in so long: a page that looks every second fills no log. */
const READ_AGAIN_MS = 600_000;
const MOST_READINGS = 5_000;
const KEEP_MS = 400 * 86_400_000;
const KEEP_MOST = 100_000;
const FORGET_EVERY = 200;
const MOST_TEXT = 200;
/**
 * Fields that stand in the audit log besides those of the path. What is not named here is left out, secrets above all.
 */
const NOTED = new Set([
  ...["id", "user", "callId", "service", "appServer", "amount", "currency", "month", "since", "role", "reason"],
  ...[
    "end",
    "force",
    "replace",
    "sessions",
    "day",
    "credit",
    "prepaid",
    "source",
    "all",
    "withinS",
    "any",
    "name",
    "dryRun",
  ],
]);

/** Whether doing it is noted in the audit log. */
export const isAudited = ({ method, personal }: AnyOperation): boolean => method !== "GET" || personal === true;

/**
 * Does an operation, by whichever way it was asked for, and notes it in the audit log: each change, done or refused,
 * and each reading of what is said about people. Throws an OperationError that says what is wrong.
 */
export async function perform(
  operation: AnyOperation,
  context: OperationContext,
  given: unknown,
  audit: Pick<Audit, "note">,
): Promise<unknown> {
  const input = checkedInput(operation, given);
  try {
    const answer = await operation.run(context, input);
    await audit.note(operation, context, input, "done");
    return answer;
  } catch (error) {
    const why = error instanceof OperationError ? error.message : "it failed";
    if (operation.method !== "GET") await audit.note(operation, context, input, why);
    throw error;
  }
}

/** Writes the audit log of one process. */
export class Audit {
  private readonly failed: (error: unknown) => void;
  /** When what was read last, in monotonic milliseconds; the oldest first. */
  private readonly readings = new Map<string, number>();
  private readonly monotonic: () => number;
  private noted = 0;

  /** `failed` is told where an entry could not be written. */
  constructor(monotonic: () => number, failed: (error: unknown) => void) {
    this.monotonic = monotonic;
    this.failed = failed;
  }

  /** Never rejects. */
  async note(
    operation: AnyOperation,
    { caller, store, now }: Pick<OperationContext, "caller" | "store" | "now">,
    input: unknown,
    outcome: string,
  ): Promise<void> {
    if (!isAudited(operation)) return;
    const of = notedOf(operation, input);
    const kind = operation.method === "GET" ? "read" : "change";
    const { name: who, role, from } = caller;
    if (kind === "read" && !this.isNew(JSON.stringify([operation.id, who, role, from, of]))) return;
    const at = now();
    const entry: AuditEntry = {
      id: timeOrderedId(at, systemRandom, orderOf(this.noted++)),
      ...{ at, who, role, from, what: operation.id, kind },
      ...(Object.keys(of).length > 0 && { of }),
      outcome: outcome.slice(0, MOST_TEXT),
    };
    try {
      await store.audit.add(entry);
      if (this.noted % FORGET_EVERY === 1) await store.audit.forget({ before: at - KEEP_MS, most: KEEP_MOST });
    } catch (error) {
      this.failed(error);
    }
  }

  private isNew(reading: string): boolean {
    const now = this.monotonic();
    const before = this.readings.get(reading);
    if (before !== undefined && now < before + READ_AGAIN_MS) return false;
    this.readings.delete(reading);
    this.readings.set(reading, now);
    if (this.readings.size > MOST_READINGS) this.readings.delete(this.readings.keys().next().value!);
    return true;
  }
}

/** Entries of one millisecond stay in their order. */
const orderOf = (number: number): string => (number % ORDERS).toString(36).padStart(4, "0");
const ORDERS = 36 ** 4;

function notedOf({ path }: AnyOperation, input: unknown): Record<string, string | number | boolean> {
  const inPath = new Set(namesIn(path));
  const noted: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(input as Record<string, unknown>)) {
    if (!inPath.has(name) && !NOTED.has(name)) continue;
    if (typeof value === "string") noted[name] = value.slice(0, MOST_TEXT);
    else if (typeof value === "number" || typeof value === "boolean") noted[name] = value;
  }
  return noted;
}
