import { z } from "zod";
import { REPAIRED, repaired, replay } from "../charging/billing/dead-letters.ts";
import type { DeadLetter } from "../charging/events/dead-letter.ts";
import type { Store } from "../store/types.ts";
import { systemClock } from "../support/clock.ts";
import { createLogger } from "../support/logger.ts";
import { dropped, letterId, nextOf, pageFields } from "./letters.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, operation } from "./operation.ts";
import { sinceOf } from "./times.ts";

const MOST = 1_000;
const letter = z.object({
  id: z.string(),
  at: z.int(),
  reason: z.string(),
  event: z.string().describe("The event as JSON text."),
  untrusted: z.literal(true).optional().describe("No relay has signed it: anybody may have made it."),
});

export const listDeadLetters = operation({
  id: "listDeadLetters",
  method: "GET",
  path: "/v1/dead-letters",
  summary: "Events that could not be billed, with the reason of each",
  right: "see-money",
  personal: true,
  input: z.strictObject(pageFields),
  output: z.object({ deadLetters: z.array(letter), next: z.string().optional() }),
  async run({ store }, { after, most }) {
    const deadLetters = await store.billing.deadLetters(most, after);
    return { deadLetters, ...nextOf(deadLetters, most) };
  },
});

export const showDeadLetter = operation({
  id: "showDeadLetter",
  method: "GET",
  path: "/v1/dead-letters/{id}",
  summary: "One of them, as it is",
  right: "see-money",
  personal: true,
  input: z.strictObject({ id: letterId }),
  output: letter,
  run: ({ store }, { id }) => letterOf(store, id),
});

export const repairDeadLetter = operation({
  id: "repairDeadLetter",
  method: "PUT",
  path: "/v1/dead-letters/{id}",
  summary: "Change an event that could not be billed; it keeps its id",
  right: "bill",
  input: z.strictObject({ id: letterId, event: z.string().max(60_000).describe("The event as JSON text.") }),
  output: letter.extend({ ready: z.boolean().describe("It can be billed now.") }),
  async run({ store }, { id, event }) {
    const changed = repaired(await letterOf(store, id), event);
    if (!changed.ok) throw new OperationError("refused", changed.error);
    await store.billing.putDeadLetter(changed.value);
    return { ...changed.value, ready: changed.value.reason === REPAIRED };
  },
});

export const replayDeadLetter = operation({
  id: "replayDeadLetter",
  method: "POST",
  path: "/v1/dead-letters/{id}/replay",
  summary: "Bill it; an event that was billed before changes nothing",
  right: "bill",
  input: z.strictObject({
    id: letterId,
    unsigned: z.boolean().default(false).describe("Bill it although no relay has signed it."),
  }),
  output: z.object({ id: z.string(), billed: z.literal(true) }),
  async run({ store, config }, { id, unsigned }) {
    const { keepEvents } = config.charging;
    const how = { store, clock: systemClock, log: createLogger({ level: "silent", pretty: false }), keepEvents };
    const event = await replay(how, await letterOf(store, id), { untrusted: unsigned });
    if (!event.ok) throw new OperationError("refused", event.error);
    return { id, billed: true };
  },
});

export const dropDeadLetter = operation({
  id: "dropDeadLetter",
  method: "DELETE",
  path: "/v1/dead-letters/{id}",
  summary: "Remove it: it will never be billed",
  right: "bill",
  input: z.strictObject({ id: letterId }),
  output: dropped,
  async run({ store }, { id }) {
    if (!(await store.billing.removeDeadLetter(id))) throw notThere(id);
    return { id, dropped: true };
  },
});

export const listRefusedCharges = operation({
  id: "listRefusedCharges",
  method: "GET",
  path: "/v1/refused-charges",
  summary: "Charges that app servers asked for and did not get, with the reason of each, the newest first",
  right: "see-money",
  personal: true,
  input: z.strictObject({
    since: z.string().max(64).optional().describe("30s, 10m, 2h, 3d, a time, or milliseconds since 1970."),
    most: z.int().min(1).max(MOST).default(200),
    cursor: z.string().max(1_024).optional().describe("`next` of the page before."),
  }),
  output: z.object({
    refused: z.array(
      z.object({
        id: z.string(),
        at: z.int(),
        call: z.string(),
        session: z.string(),
        user: z.string(),
        service: z.string(),
        appServer: z.string(),
        charge: z.string().optional().describe("The charge's own id, where it could be read."),
        reason: z.string(),
      }),
    ),
    next: z.string().optional(),
  }),
  async run({ store, now }, { since, most, cursor }) {
    const { entries: refused, next } = await store.refusedCharges.page({
      most,
      ...(since !== undefined && { since: sinceOf(since, now()) }),
      ...(cursor !== undefined && { before: cursor }),
    });
    return { refused, ...(next !== undefined && { next }) };
  },
});

export const deadLetterOperations: readonly AnyOperation[] = [
  listRefusedCharges,
  listDeadLetters,
  showDeadLetter,
  repairDeadLetter,
  replayDeadLetter,
  dropDeadLetter,
];

async function letterOf(store: Store, id: string): Promise<DeadLetter> {
  const letter = await store.billing.getDeadLetter(id);
  if (!letter) throw notThere(id);
  return letter;
}

const notThere = (id: string) =>
  new OperationError("unknown", `no event ${id} among those that could not be billed`, {
    hint: "see: tollgate events list",
  });
