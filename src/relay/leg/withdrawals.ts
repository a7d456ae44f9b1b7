import type { ClientTransaction } from "../../transaction/types.ts";
import type { LegPort } from "../model/core.ts";
import type { Withdrawn } from "../model/ports.ts";

/** The CANCEL for an INVITE of this leg, if it can be sent now. */
export function withdrawalsOf(transaction: ClientTransaction | undefined, { side, dialog }: LegPort): Withdrawn[] {
  const withdrawal = transaction?.withdrawal?.();
  if (!withdrawal) return [];
  const { flow } = withdrawal;
  const byConnection = flow.reliable && side === "client" && (flow === dialog.flow || flow === dialog.cameBy);
  return [{ ...withdrawal, side, byConnection }];
}
