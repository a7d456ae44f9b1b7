import { OpenRecord } from "../../calls/open-record.ts";
import type { ServerTransaction } from "../../transaction/types.ts";

/** The record of a request. Undefined: it is none of those that leave one (INVITE, REFER, a change). */
export const recordOf = ({ witness }: Pick<ServerTransaction, "witness">): OpenRecord | undefined =>
  witness instanceof OpenRecord ? witness : undefined;
