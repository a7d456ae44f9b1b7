import { label } from "../charging/events/field-checks.ts";
import { CliError, EXIT } from "./io.ts";

/** What stands on bills and in ledgers, as app servers may write it in charges: the text, or the end of the command. */
export function checked(option: string, text: string, most: number): string {
  const problem = label(most)(text);
  if (problem !== undefined) throw new CliError(`${option}: ${problem}`, EXIT.usage);
  return text;
}
