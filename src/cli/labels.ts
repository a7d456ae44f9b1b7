import { label } from "../charging/events/field-checks.ts";
import { CliError, EXIT } from "./io.ts";

/** A text for bills and ledgers, by the same rules as in charges: returns it, or ends the command. */
export function checked(option: string, text: string, most: number): string {
  const problem = label(most)(text);
  if (problem !== undefined) throw new CliError(`${option}: ${problem}`, EXIT.usage);
  return text;
}
