import { z } from "zod";
import type { ChargingEvent } from "../charging/events/events.ts";
import type { Config } from "../config/schema.ts";
import type { Store } from "../store/types.ts";
import { systemClock } from "../support/clock.ts";
import type { UsageLetter } from "../usage/letters.ts";
import { dropped, letterId, nextOf, pageFields } from "./letters.ts";
import { OperationError } from "./mistake.ts";
import { type AnyOperation, operation } from "./operation.ts";

/* Usage that an endpoint did not take: looked at, sent once more, dropped. */

/** Sent in one go: the answer waits for all of them. */
const MOST_SENT = 50;
const sink = z.string().min(1).max(256).optional().describe("Those of one endpoint.");
const letter = z.object({
  id: z.string(),
  sink: z.string(),
  at: z.int(),
  reason: z.string(),
  event: z.string().describe("What was to be sent, as the JSON text of the event."),
});

export const listUsageLetters = operation({
  id: "listUsageLetters",
  method: "GET",
  path: "/v1/usage/letters",
  summary: "Usage that was put aside, with the reason of each",
  right: "see-money",
  personal: true,
  input: z.strictObject({ sink, ...pageFields }),
  output: z.object({ letters: z.array(letter), next: z.string().optional() }),
  async run({ store }, { sink, after, most }) {
    const letters = await store.usage.list(most, after, sink);
    return { letters, ...nextOf(letters, most) };
  },
});

export const showUsageLetter = operation({
  id: "showUsageLetter",
  method: "GET",
  path: "/v1/usage/letters/{id}",
  summary: "One of them",
  right: "see-money",
  personal: true,
  input: z.strictObject({ id: letterId }),
  output: letter,
  run: ({ store }, { id }) => letterOf(store, id),
});

export const resendUsage = operation({
  id: "resendUsage",
  method: "POST",
  path: "/v1/usage/resend",
  summary: "Send usage that was put aside once more: one event, or up to 50 after `after`",
  right: "bill",
  input: z.strictObject({ id: letterId.optional(), sink, after: letterId.optional() }),
  output: z.object({
    sent: z.int(),
    left: z.array(z.object({ id: z.string(), why: z.string() })).describe("Not taken again."),
    next: z.string().optional().describe("There are more: ask again with this as `after`."),
  }),
  run: ({ store, config }, input) => resend(store, config, input, process.env),
});

export const dropUsageLetter = operation({
  id: "dropUsageLetter",
  method: "DELETE",
  path: "/v1/usage/letters/{id}",
  summary: "Remove usage that was put aside: it will never be sent",
  right: "bill",
  input: z.strictObject({ id: letterId }),
  output: dropped,
  async run({ store }, { id }) {
    if (!(await store.usage.remove(id))) throw notThere(id);
    return { id, dropped: true };
  },
});

export const usageLetterOperations: readonly AnyOperation[] = [
  listUsageLetters,
  showUsageLetter,
  resendUsage,
  dropUsageLetter,
];

interface Resend {
  readonly id?: string | undefined;
  readonly sink?: string | undefined;
  readonly after?: string | undefined;
}

/** What is taken is removed from the list. `env`: where the endpoints' secrets may stand. */
export async function resend(
  store: Store,
  config: Config,
  which: Resend,
  env: Readonly<Record<string, string | undefined>>,
) {
  const { Endpoint } = await import("../usage/endpoint.ts");
  const { sendByFetch } = await import("../support/http-send.ts");
  const { attempt } = await import("../usage/attempt.ts");
  const endpoints = new Map(config.usage.map((sink) => [sink.id, new Endpoint(sink, env, systemClock)]));
  const { id, sink, after } = which;
  const page = id === undefined ? await store.usage.list(MOST_SENT, after, sink) : [await letterOf(store, id)];
  const left: { id: string; why: string }[] = [];
  let sent = 0;
  for (const letter of page) {
    if (sink !== undefined && letter.sink !== sink) continue;
    const endpoint = endpoints.get(letter.sink);
    const event = JSON.parse(letter.event) as ChargingEvent;
    const outcome = endpoint
      ? await attempt({ endpoint, send: sendByFetch, clock: systemClock }, [event])
      : { verdict: "never", why: `there is no sink ${letter.sink} in the configuration` };
    if (outcome.verdict === "taken") {
      await store.usage.remove(letter.id); // killed before this: it is sent once more, under the same id
      sent++;
    } else left.push({ id: letter.id, why: String(outcome.why) });
  }
  return { sent, left, ...nextOf(page, MOST_SENT) };
}

async function letterOf(store: Store, id: string): Promise<UsageLetter> {
  const letter = await store.usage.get(id);
  if (!letter) throw notThere(id);
  return letter;
}

const notThere = (id: string) =>
  new OperationError("unknown", `no event ${id} was put aside`, { hint: "see: tollgate usage list" });
