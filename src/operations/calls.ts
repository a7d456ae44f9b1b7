import { z } from "zod";
import { byEnd, type CallQuery, endOf, findCalls } from "../calls/find.ts";
import { type CallRecord, isFailure } from "../calls/record.ts";
import { plainRecord } from "../calls/record-schema.ts";
import { stepsOf } from "../calls/steps.ts";
import type { Entry } from "../charging/billing/store.ts";
import type { Store } from "../store/types.ts";
import { entry } from "./bill-schema.ts";
import { type OperationContext, relayOf } from "./context.ts";
import { missingNodes, missingOf, silentText } from "./missing.ts";
import { OperationError } from "./mistake.ts";
import { idField, operation } from "./operation.ts";
import { sinceOf } from "./times.ts";

/** A record as it is listed. */
export interface ListedCall extends Omit<CallRecord, "kept"> {
  readonly failed: boolean;
}

/** One arrow of a ladder. `atMs`: milliseconds since the request came; missing: not noted. */
export interface Arrow {
  readonly atMs?: number;
  readonly from: string;
  readonly to: string;
  readonly text: string;
  readonly error: boolean;
}

/** One move of a chart. */
export interface Move {
  readonly atMs: number;
  readonly chart: string;
  /** "": it moved without one. */
  readonly event: string;
  readonly from: string;
  readonly to: string;
}

export interface CallDetail extends ListedCall {
  readonly ladder: readonly Arrow[];
  readonly path: readonly Move[];
  /** What stands on bills for its sessions. */
  readonly charges: readonly Entry[];
}

const text = z.string();
const ms = z.int();
const listedCall = plainRecord.extend({ failed: z.boolean() });
const arrow = z.object({ atMs: ms.optional(), from: text, to: text, text, error: z.boolean() });
const move = z.object({ atMs: ms, chart: text, event: text, from: text, to: text });
const callDetail = listedCall.extend({ ladder: z.array(arrow), path: z.array(move), charges: z.array(entry) });

const MOST = 500;

export const listCalls = operation({
  id: "listCalls",
  method: "GET",
  path: "/v1/calls",
  summary: "What became of requests, the newest first; those that run, at any node, stand before all others",
  right: "see",
  personal: true,
  live: "if-there",
  input: z.strictObject({
    user: idField.optional(),
    callId: z.string().min(1).max(512).optional().describe("Of either side."),
    failed: z
      .boolean()
      .optional()
      .describe("Those that were refused or came to nothing, not those given up by their caller."),
    since: z
      .string()
      .max(64)
      .optional()
      .describe("Ended since then, or run: 30s, 10m, 2h, 3d, a time, or milliseconds since 1970."),
    strangers: z
      .boolean()
      .optional()
      .describe("Those refused before anybody had signed in, in place of those of users; with callId: beside them."),
    most: z.int().min(1).max(MOST).default(50),
    cursor: z.string().max(256).optional().describe("`next` of the page before."),
  }),
  output: z.object({ calls: z.array(listedCall), next: text.optional(), missing: missingNodes }),
  async run(context, { since, cursor, most, ...rest }) {
    const query: CallQuery = {
      ...withoutUndefined(rest),
      strangers: rest.strangers === true,
      most: most + 1,
      ...(since !== undefined && { since: sinceOf(since, context.now()) }),
      ...(cursor !== undefined && { before: readCursor(cursor) }),
    };
    // Who looks for a Call-ID need not know whether its sender got past the sign-in.
    const isEither = query.callId !== undefined && rest.strangers === undefined;
    const asked = isEither ? [query, { ...query, strangers: true }] : [query];
    const all = await Promise.all(asked.map((one) => callsOf(context, one)));
    const found = all.flatMap(({ calls }) => calls).sort(byEnd);
    const missing = [...new Set(all.flatMap((one) => one.missing))];
    const calls = found.slice(0, most);
    const last = calls.at(-1);
    return {
      calls: calls.map(listed),
      ...(found.length > most && last && { next: `${endOf(last)}.${last.id}` }),
      ...missingOf(missing),
    };
  },
});

export const showCall = operation({
  id: "showCall",
  method: "GET",
  path: "/v1/calls/{id}",
  summary: "One call: why it went as it did, its messages, the way through its charts, its charges",
  right: "see",
  personal: true,
  live: "if-there",
  input: z.strictObject({
    id: z
      .string()
      .min(1)
      .max(512)
      .describe("Of a record (or its first 6 characters), a call, a session; or a Call-ID."),
  }),
  output: z.object({ calls: z.array(callDetail), missing: missingNodes }),
  async run(context, { id }): Promise<{ calls: CallDetail[]; missing?: readonly string[] }> {
    const { calls, missing } = await callsNamed(context, id);
    const charges = await chargesOf(context.store, calls);
    return { calls: calls.map((record) => detailOf(record, charges)), ...missingOf(missing) };
  },
});

export const showStory = operation({
  id: "showStory",
  method: "GET",
  path: "/v1/calls/{id}/story",
  summary:
    "Everything that was seen of a call that runs, has ended lately, or was recorded by a trace, as in /v1/events",
  right: "see",
  personal: true,
  live: true,
  input: z.strictObject({ id: z.string().min(1).max(128).describe("The whole id of its record.") }),
  output: z.object({
    items: z
      .array(z.looseObject({ kind: z.enum(["message", "state", "charge", "timer", "end"]), at: z.number(), text }))
      .describe("Lines of /v1/events: what else is in each depends on its kind."),
    leftOut: z.int().describe("Things in the middle that gave way."),
  }),
  async run(context, { id }) {
    const { story, missing } = await relayOf(context).everywhere.story(id);
    if (story) return story;
    throw new OperationError("unknown", `nothing is kept of what was seen of call ${id}${alsoSilent(missing)}`, {
      hint: "calls that a trace records are kept: tollgate trace start",
    });
  },
});

/** The records of that id; throws if there is none. */
async function callsNamed(context: OperationContext, id: string): Promise<FoundCalls> {
  let silent: readonly string[] = [];
  for (const strangers of [false, true]) {
    const found = await callsOf(context, { any: id, most: 20, strangers });
    if (found.calls.length > 0) return found;
    silent = found.missing;
  }
  const what = `no call has the id ${id}, or its record is no longer kept`;
  throw new OperationError("unknown", `${what}${alsoSilent(silent)}`, { hint: "see: tollgate calls" });
}

const alsoSilent = (missing: readonly string[]): string => (missing.length > 0 ? `; ${silentText(missing)}` : "");

interface FoundCalls {
  readonly calls: CallRecord[];
  readonly missing: readonly string[];
}

/** A relay that runs knows more than the store, and asks the other nodes. */
const callsOf = async ({ relay, store }: OperationContext, query: CallQuery): Promise<FoundCalls> =>
  relay ? relay.everywhere.calls(query) : { calls: await findCalls(store.calls, [], query), missing: [] };

/** What the store has on bills for the sessions of these calls. */
async function chargesOf(store: Store, calls: readonly CallRecord[]): Promise<Entry[]> {
  // Whoever refused has charged nothing. A call that runs has no sum yet, but it may have lines.
  const sessions = calls.flatMap(({ asked = [], running }) =>
    asked.flatMap((one) => (one.clockMs === undefined && !one.cost && !running ? [] : one.session)),
  );
  const entries: Entry[] = [];
  for (const session of new Set(sessions)) entries.push(...(await store.billing.entriesOf(session)));
  return entries.sort((a, b) => a.at - b.at);
}

function listed({ kept: _, ...record }: CallRecord): ListedCall {
  return { ...record, failed: isFailure(record) };
}

const isError = (text: string): boolean => /^[3-6]\d\d /.test(text);

function detailOf(record: CallRecord, charges: readonly Entry[]): CallDetail {
  const { kept, asked = [] } = record;
  const ladder = kept
    ? kept.messages.map(([atMs, from, to, text]): Arrow => ({ atMs, from, to, text, error: isError(text) }))
    : stepsOf(record).map(({ atMs, ...step }) => ({
        ...(atMs !== undefined && { atMs }),
        ...step,
        error: isError(step.text),
      }));
  const path = (kept?.states ?? []).map(([atMs, chart, event, from, to]) => ({ atMs, chart, event, from, to }));
  const own = charges.filter(({ session }) => asked.some((one) => one.session === session));
  return { ...listed(record), ladder, path, charges: own };
}

function readCursor(cursor: string): { readonly endedAt: number; readonly id: string } {
  const [, endedAt, id] = /^(\d{1,16})\.(.+)$/.exec(cursor) ?? [];
  if (id === undefined) throw new OperationError("usage", "expected `next` of the page before", { field: "cursor" });
  return { endedAt: Number(endedAt), id };
}

const withoutUndefined = <T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
