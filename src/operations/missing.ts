import { z } from "zod";

/** In an answer about all nodes of a cluster: those that are not in it, or not wholly. */
export const missingNodes = z
  .array(z.string())
  .optional()
  .describe("Nodes that did not answer within a second or so: what they have is missing here.");

export const missingOf = (missing: readonly string[]): { readonly missing?: readonly string[] } =>
  missing.length > 0 ? { missing } : {};

/** For people. */
export const silentText = (missing: readonly string[]): string =>
  missing.length === 1 ? `node ${missing[0]} did not answer` : `nodes ${missing.join(", ")} did not answer`;
