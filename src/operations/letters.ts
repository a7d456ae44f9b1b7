import { z } from "zod";

/* What events that were put aside have in common, whether they could not be billed or were not taken by an endpoint. */

const MOST = 1_000;

export const letterId = z.string().min(1).max(1_024);

/** Of a list's input. */
export const pageFields = {
  after: letterId.optional().describe("`next` of the page before."),
  most: z.int().min(1).max(MOST).default(200),
};

/** `next` of an answer, where the page is full. */
export const nextOf = (page: readonly { readonly id: string }[], most: number): { readonly next?: string } =>
  page.length < most ? {} : { next: page.at(-1)!.id };

export const dropped = z.object({ id: z.string(), dropped: z.literal(true) });
