import type { Outcome, RefusalKind } from "../../charging/charges/book.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { reply, warning } from "../dialog/reply.ts";

const STATUS: Readonly<Record<RefusalKind, number>> = {
  unreadable: 400,
  prepaid: 402,
  terms: 403,
  conflict: 403,
  forbidden: 403,
  unknown: 404,
  closed: 410, // RFC 3261 §21.4.11
};

/** Tells an app server what became of its charges: 200 when all are on record, else why none was made. */
export function answerCharges(transaction: ServerTransaction, outcome: Outcome): void {
  switch (outcome.kind) {
    case "recorded":
      reply(transaction, 200);
      return;
    case "failed":
      if (outcome.unknown) {
        reply(transaction, 503, [["Retry-After", "5"]], "What was charged so far cannot be known now");
        return;
      }
      reply(transaction, 500, [["Retry-After", "10"]], "The charge could not be put on record");
      return;
    default: {
      const { kind, text } = outcome.refusal;
      const what = kind === "unreadable" ? "Bad charge" : "Charge refused";
      reply(transaction, STATUS[kind], [warning(text)], `${what}: ${text}`);
    }
  }
}
