import { z } from "zod";
import type { Entry } from "../charging/billing/store.ts";
import { printable } from "../charging/bills/format.ts";
import { type Difference, rebill } from "../charging/bills/rebill.ts";
import { theAccount } from "./accounts.ts";
import { OperationError } from "./mistake.ts";
import { forgotten, theMonth } from "./months.ts";
import { idField, operation } from "./operation.ts";

/** More differences than this are counted, not shown. */
const MAX_SHOWN = 1_000;

export const rebillMonth = operation({
  id: "rebillMonth",
  method: "POST",
  path: "/v1/months/{month}/rebill",
  summary: "Make a month's entries again from the events that are kept, and compare them with the bills",
  right: "bill",
  input: z.strictObject({
    month: z.string().max(16),
    user: idField.optional().describe("This user's alone."),
    dryRun: z.boolean().optional().describe("Write nothing; else missing entries are written, and nothing is changed."),
  }),
  output: z.object({
    month: z.string(),
    events: z.int(),
    entries: z.int(),
    written: z.int(),
    differences: z.int(),
    shown: z.array(z.object({ kind: z.string(), text: z.string() })).describe("The first 1,000 differences."),
    keepsEvents: z.boolean().describe("The setting charging.keepEvents."),
  }),
  async run({ config, store, now }, { month: given, user, dryRun }) {
    const month = theMonth(given, now());
    const why = forgotten(config, month, "entriesMonths", now()) ?? forgotten(config, month, "eventsMonths", now());
    if (why !== undefined) throw new OperationError("refused", why);
    const { billing, credit } = store;
    const account = user === undefined ? undefined : await theAccount(store, user);
    const shown: { kind: string; text: string }[] = [];
    const onDifference = (difference: Difference) => {
      if (shown.length < MAX_SHOWN) shown.push({ kind: difference.kind, text: describe(difference) });
    };
    const result = await rebill(billing, { month, user: account, write: !dryRun, credit, onDifference });
    const { events, entries, written, differences } = result;
    return { month, events, entries, written, differences, shown, keepsEvents: config.charging.keepEvents };
  },
});

function describe(difference: Difference): string {
  switch (difference.kind) {
    case "missing":
      return `missing      ${line(difference.entry)}`;
    case "different":
      return `different    ${line(difference.stored)}\n  by its event ${line(difference.entry)}\n  ${changes(difference.stored, difference.entry)}`;
    case "unexplained":
      return `no event for ${line(difference.stored)}`;
    case "sum":
      return `sums of ${printable(difference.user)} are kept as ${JSON.stringify(difference.stored)}\n  and are by the events ${JSON.stringify(difference.sums)}`;
    case "unreadable":
      return `unreadable   ${printable(String(difference.event.id))}: ${printable(difference.reason)}`;
  }
}

const line = ({ id, user, service, amount, currency }: Entry): string =>
  printable(`${id}  ${user}  ${service}  ${currency === "" ? "free" : `${amount} ${currency}`}`);

function changes(stored: Entry, made: Entry): string {
  const a = stored as unknown as Record<string, unknown>;
  const b = made as unknown as Record<string, unknown>;
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  const differ = names.filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
  return differ
    .map((name) => printable(`${name}: ${JSON.stringify(a[name])}, by its event ${JSON.stringify(b[name])}`))
    .join("; ");
}
