import { fromCloudEvent } from "../../bus/cloud-events.ts";
import { err, ok, type Result } from "../../support/result.ts";
import type { DeadLetter } from "../events/dead-letter.ts";
import type { ChargingEvent } from "../events/events.ts";
import { type BillOptions, billEvent, faultIn } from "./billing.ts";
import { readied } from "./readied.ts";
import type { BillingStore } from "./store.ts";

/*
 * Events that could not be billed. They are in the store, where an operator looks at them, repairs them and has them
 * billed. A replay bills straight into the store, as one more billing worker does. It does not use the bus: JetStream
 * knows the event's id already, and would take the event for a repetition.
 */

/** The event in a letter's text, which is plain or a CloudEvent; or why it cannot be billed. */
export function eventIn(text: string): Result<ChargingEvent, string> {
  const json = parsed(text);
  if (!json.ok) return json;
  const event =
    isObject(json.value) && "specversion" in json.value
      ? fromCloudEvent(text)
      : (json as Result<ChargingEvent, string>);
  if (!event.ok) return event;
  const parts = readied(event.value);
  return parts.ok ? event : parts;
}

/**
 * The letter with another text. Its reason is `REPAIRED` where the event can be billed now, else what is still wrong.
 * An event keeps its id.
 */
export function repaired(letter: DeadLetter, text: string): Result<DeadLetter, string> {
  const before = parsed(letter.event);
  const id = before.ok ? idIn(before.value) : undefined;
  const json = parsed(text);
  if (!json.ok) return json;
  if (id !== undefined && idIn(json.value) !== id) return err(`a repaired event keeps its id, ${id}`);
  const event = eventIn(text);
  const stored = event.ok ? JSON.stringify(event.value) : text;
  return ok({ ...letter, reason: event.ok ? REPAIRED : event.error, event: stored });
}

export const REPAIRED = "repaired";

/**
 * Changes a single value in the text; `path` is, for instance, `session.user` or `charge.quantity`. The value is text
 * unless `json` is set, but a number stays a number.
 */
export function withValue(text: string, path: string, value: string, json: boolean): Result<string, string> {
  const whole = parsed(text);
  if (!whole.ok) return err("the event is not JSON: give the whole of it with --file");
  const names = path.split(".");
  const last = names.pop()!;
  let at: unknown = whole.value;
  for (const name of names) at = isObject(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  if (!isObject(at) || last === "" || last === "__proto__") return err(`there is no ${path} in the event`);
  const asJson = parsed(value);
  if (json && !asJson.ok) return err(`${path}: expected JSON; found ${value}`);
  const stays = typeof at[last] === "number" && asJson.ok && typeof asJson.value === "number";
  at[last] = (json || stays) && asJson.ok ? asJson.value : value;
  return ok(JSON.stringify(whole.value));
}

/** Why a letter that no relay has signed is not billed. */
export const UNTRUSTED = "no relay has signed it: anybody may have made it";

/**
 * Bills the letter's event and removes the letter, or notes why it still cannot be billed. A letter that no relay has
 * signed is billed only if the operator takes responsibility for it (`untrusted`). Rejects where the store cannot be
 * used.
 */
export async function replay(
  options: BillOptions & { readonly store: { readonly billing: BillingStore } },
  letter: DeadLetter,
  { untrusted = false }: { readonly untrusted?: boolean } = {},
): Promise<Result<ChargingEvent, string>> {
  if (letter.untrusted && !untrusted) return err(UNTRUSTED);
  const { billing } = options.store;
  const event = eventIn(letter.event);
  const billed = event.ok ? await tried(options, event.value) : event;
  if (!event.ok || !billed.ok) {
    const { error } = billed as { readonly error: string };
    if (error !== letter.reason) await billing.putDeadLetter({ ...letter, reason: error });
    return err(error);
  }
  await billing.removeDeadLetter(letter.id); // killed before this: a second replay changes nothing
  return event;
}

async function tried(options: BillOptions, event: ChargingEvent): Promise<Result<void, string>> {
  try {
    await billEvent(options, event);
    return ok(undefined);
  } catch (error) {
    if (faultIn(options.store, error) !== "event") throw error;
    return err(`it cannot be billed: ${(error as Error).message}`);
  }
}

function parsed(text: string): Result<unknown, string> {
  try {
    return ok(JSON.parse(text));
  } catch {
    return err("it is not JSON");
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** The id of the event, or of its envelope. */
function idIn(value: unknown): string | undefined {
  if (!isObject(value)) return undefined;
  const inside = isObject(value.data) ? value.data.id : undefined;
  return [inside, value.id].find((id): id is string => typeof id === "string" && id !== "");
}
