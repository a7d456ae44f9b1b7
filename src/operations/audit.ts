import { z } from "zod";
import { operation } from "./operation.ts";
import { sinceOf } from "./times.ts";

const MOST = 1_000;

export const listAudit = operation({
  id: "listAudit",
  method: "GET",
  path: "/v1/audit",
  summary: "Who changed what, and who read what is said about people, the newest first",
  right: "administer",
  input: z.strictObject({
    since: z.string().max(64).optional().describe("30s, 10m, 2h, 3d, a time, or milliseconds since 1970."),
    most: z.int().min(1).max(MOST).default(100),
    cursor: z.string().max(64).optional().describe("`next` of the page before."),
  }),
  output: z.object({
    entries: z.array(
      z.object({
        id: z.string(),
        at: z.int(),
        who: z.string(),
        role: z.string(),
        from: z.string(),
        what: z.string().describe("The operation's id."),
        kind: z.enum(["change", "read"]),
        of: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
        outcome: z.string().describe("`done`, or why not."),
      }),
    ),
    next: z.string().optional(),
  }),
  run: ({ store, now }, { since, most, cursor }) =>
    store.audit.page({
      most,
      ...(since !== undefined && { since: sinceOf(since, now()) }),
      ...(cursor !== undefined && { before: cursor }),
    }),
});
