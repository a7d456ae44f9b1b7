import { z } from "zod";
import type { CallRecord } from "./record.ts";

/*
 * What a record looks like as JSON. Another node's records are held against this before anybody is shown them: texts
 * are short and printable, as they are in records that this process makes.
 */

const MOST_CHARS = 2_000;
const MOST_LISTED = 200;

/** A line that is safe on a terminal. Its bound does not stand in the document of the API, nor does that of lists. */
export const plainTextUpTo = (most: number) =>
  z
    .string()
    .refine((text) => text.length <= most && !/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text), "a plain text");
export const plainText = plainTextUpTo(MOST_CHARS);
export const listUpTo = <T extends z.ZodType>(most: number, of: T) =>
  z.array(of).refine((all) => all.length <= most, "a short list");
const text = plainText;
const ms = z.int();
const list = <T extends z.ZodType>(of: T) => listUpTo(MOST_LISTED, of);

const askedServer = z.object({
  appServer: text,
  session: text,
  callId: text.optional(),
  atMs: ms,
  status: z.int().optional(),
  reason: text.optional(),
  why: text.optional(),
  answerMs: ms.optional(),
  clockMs: ms.optional(),
  endedBy: text.optional(),
  cost: text.optional(),
});

/** A record, as it is listed. */
export const plainRecord = z.object({
  id: text,
  kind: z.enum(["invite", "refer", "change"]),
  method: text,
  at: ms,
  call: text.optional(),
  callId: text,
  fromServer: z.literal(true).optional(),
  source: text,
  user: text.optional(),
  uri: text,
  rule: text.optional(),
  service: text.optional(),
  asked: list(askedServer).optional(),
  within: z.object({ session: text, appServer: text, callId: text.optional() }).optional(),
  status: z.int().optional(),
  reason: text.optional(),
  why: text.optional(),
  endedBy: text.optional(),
  ringMs: ms.optional(),
  answerMs: ms.optional(),
  wholeMs: ms,
  cost: text.optional(),
  running: z.literal(true).optional(),
  resumed: z.literal(true).optional(),
});

/** With what was seen of it while it ran. */
export const wholeRecord = plainRecord.extend({
  kept: z
    .object({
      messages: list(z.tuple([z.number(), text, text, text])),
      states: list(z.tuple([z.number(), text, text, text, text])),
    })
    .optional(),
}) as unknown as z.ZodType<CallRecord>;
