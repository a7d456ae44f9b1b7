import { label } from "../charging/events/field-checks.ts";
import { OperationError } from "./mistake.ts";

/** A text for bills and ledgers, by the same rules as in charges: returns it, or throws. */
export function checked(field: string, text: string, most: number): string {
  const problem = label(most)(text);
  if (problem !== undefined) throw new OperationError("usage", problem, { field });
  return text;
}
