import type { Config } from "../config/schema.ts";
import { askControl, controlPath } from "../console/control.ts";
import { CliError } from "./io.ts";

/**
 * Asks the relay that runs on the configuration's data folder. Ends the command if there is none, or no answer.
 */
export async function askRelay(config: Config, method: string, url: string, body?: unknown): Promise<unknown> {
  const answer = await askControl(controlPath(config.data), method, url, body);
  if (answer.ok) return answer.value;
  throw new CliError(
    answer.error.absent
      ? `no relay runs on ${config.data}: start one with tollgate start, or name its configuration with --config`
      : `the relay on ${config.data} does not answer: ${answer.error.message}`,
  );
}
