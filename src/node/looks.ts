import { z } from "zod";
import type { Bus } from "../bus/types.ts";
import type { CallQuery } from "../calls/find.ts";
import type { CallRecord } from "../calls/record.ts";
import { plainText, wholeRecord } from "../calls/record-schema.ts";
import { isFresh, sealed, unsealed } from "../charging/charges/book-questions.ts";
import type { Clock } from "../support/clock.ts";
import { isDeeper } from "../support/json.ts";
import { MOST_TRACES, type TraceView } from "../trace/traces.ts";
import { type Figures, figures } from "./figures.ts";
import { type SessionView, sessionView } from "./session-view.ts";
import { traceFilter, traceView } from "./trace-view.ts";
import { type ToldCall, tracedCall } from "./traced-items.ts";

/*
 * What operators ask for at one node of a cluster, and another node has: its sessions, calls that run, the story of a
 * call. A question and its answer are JSON, sealed with what the nodes share. Who reads them is careful: they may have
 * been written by anybody who reaches NATS, where the nodes share no secret, and else by a node of another version.
 */

/** A question is answered in one message of NATS, which takes 1 MiB. */
export const ANSWER_BYTES = 524_288;
export const SESSIONS_PER_ANSWER = 2_000;
/** What a node is asked for at once. */
export const MOST_CALLS = 1_001;
const MAX_TEXT_BYTES = 2 ** 20;
const MAX_DEPTH = 10;
const PURPOSE = "looks";

const name = z.string().max(512);
const callQuery = z.strictObject({
  callId: name.optional(),
  user: name.optional(),
  failed: z.boolean().optional(),
  since: z.number().optional(),
  any: name.optional(),
  strangers: z.boolean().optional(),
  before: z.strictObject({ endedAt: z.number(), id: name }).optional(),
  most: z.int().min(1).max(MOST_CALLS),
});
const question = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("sessions"), after: name }),
  z.strictObject({ kind: z.literal("end"), session: name }),
  z.strictObject({ kind: z.literal("calls"), query: callQuery as unknown as z.ZodType<CallQuery> }),
  z.strictObject({ kind: z.literal("story"), call: name }),
  z.strictObject({
    ...{ kind: z.literal("start-trace"), name, filter: traceFilter, most: z.int().min(1), hep: name.optional() },
  }),
  z.strictObject({ kind: z.literal("stop-trace"), name, drop: z.boolean() }),
  z.strictObject({ kind: z.literal("traces") }),
  z.strictObject({ kind: z.literal("figures") }),
  z.strictObject({ kind: z.literal("traced"), name, after: z.int().min(0) }),
]);
export type Look = z.output<typeof question>;

/** Everything that was seen of a call, each as one line of `/v1/events`. */
export interface StoryLines {
  readonly items: readonly object[];
  readonly leftOut: number;
}

/** One line of `/v1/events`. */
export const seenLine = z.looseObject({
  kind: z.enum(["message", "state", "charge", "timer", "end"]),
  at: z.number(),
  text: plainText,
});
const answers = {
  sessions: z.object({ sessions: z.array(sessionView).max(SESSIONS_PER_ANSWER), more: z.boolean() }),
  end: z.object({ ended: z.boolean() }),
  calls: z.object({ calls: z.array(wholeRecord).max(MOST_CALLS), more: z.boolean() }),
  story: z.object({ story: z.object({ items: z.array(seenLine).max(10_000), leftOut: z.int() }).nullable() }),
  figures,
  "start-trace": z.object({ why: plainText.nullable() }),
  "stop-trace": z.object({ was: z.boolean() }),
  traces: z.object({ traces: z.array(traceView).max(MOST_TRACES) }),
  traced: z.object({ there: z.boolean(), calls: z.array(tracedCall).max(10_000), more: z.boolean() }),
};
export interface Looked {
  readonly sessions: { readonly sessions: readonly SessionView[]; readonly more: boolean };
  readonly end: { readonly ended: boolean };
  readonly calls: { readonly calls: readonly CallRecord[]; readonly more: boolean };
  readonly story: { readonly story: StoryLines | null };
  readonly figures: Figures;
  /** Null: it has begun. */
  readonly "start-trace": { readonly why: string | null };
  readonly "stop-trace": { readonly was: boolean };
  readonly traces: { readonly traces: readonly TraceView[] };
  /** From the item of that number on, over all calls. `there`: false: there is no such trace. */
  readonly traced: { readonly there: boolean; readonly calls: readonly ToldCall[]; readonly more: boolean };
}

/** Without a secret that the nodes share, whoever reaches NATS can ask, as for all else that nodes tell each other. */
const NO_SECRET = Buffer.alloc(32);
type Keys = Pick<Bus, "keys">;
const keysOf = (bus: Keys): readonly Buffer[] => {
  const shared = bus.keys?.(PURPOSE) ?? [];
  return shared.length > 0 ? shared : [NO_SECRET];
};

export function writeLook(
  bus: Keys,
  about: { nonce: string; to: string; from: string; at: number },
  look: Look,
): string {
  return sealed(keysOf(bus)[0]!, { asks: PURPOSE, ...about, look });
}

/** Undefined: it is no question of this kind to this node, or it is an old one. */
export function readLook(
  bus: Keys,
  text: string,
  { node, clock }: { readonly node: string; readonly clock: Pick<Clock, "wall"> },
): { readonly nonce: string; readonly from: string; readonly look: Look } | undefined {
  const said = opened(bus, text);
  if (said?.asks !== PURPOSE || said.to !== node) return undefined;
  const { nonce, from, at } = said;
  if (typeof nonce !== "string" || typeof from !== "string" || !isFresh(at, clock)) return undefined;
  const read = question.safeParse(said.look);
  return read.success ? { nonce, from, look: read.data } : undefined;
}

export function writeLooked<K extends Look["kind"]>(bus: Keys, nonce: string, looked: Looked[K]): string {
  return sealed(keysOf(bus)[0]!, { nonce, ...looked });
}

/** Undefined: it is no answer to that question, or not as it must be. */
export function readLooked<K extends Look["kind"]>(
  bus: Keys,
  text: string,
  { nonce, kind }: { readonly nonce: string; readonly kind: K },
): Looked[K] | undefined {
  const said = opened(bus, text);
  if (said?.nonce !== nonce) return undefined;
  const read = answers[kind].safeParse(said);
  return read.success ? (read.data as Looked[K]) : undefined;
}

function opened(bus: Keys, text: string): Record<string, unknown> | undefined {
  if (Buffer.byteLength(text) > MAX_TEXT_BYTES || isDeeper(text, MAX_DEPTH)) return undefined;
  for (const key of keysOf(bus)) {
    const said = unsealed(text, () => key);
    if (said) return said;
  }
  return undefined;
}
