import { existsSync } from "node:fs";
import type { Command } from "commander";
import { adviceOn } from "../config/load.ts";
import { configPath, knownIn, readConfig, warningText, withStore } from "./context.ts";
import { CliError, EXIT, type Io } from "./io.ts";

/** `tollgate check-config`. */
export function addCheckConfigCommand(program: Command, io: Io): void {
  program
    .command("check-config")
    .description("check a configuration, also against what is registered in the store")
    .argument("[file]", "the file (default: as for --config)")
    .addHelpText(
      "after",
      `
A mistake is shown as file:line:column, the setting, what was expected and what was found. A setting that is allowed but
may cost money gets a warning.

Example:
  $ tollgate check-config /etc/tollgate/tollgate.yaml`,
    )
    .action(async (file: string | undefined, _options: unknown, command: Command) => {
      const option = file ?? (command.optsWithGlobals().config as string | undefined);
      if (configPath(io, option) === undefined) {
        throw new CliError(
          "no tollgate.yaml here: name the file, or start from ops/tollgate.yaml of the package",
          EXIT.usage,
        );
      }
      const { config } = readConfig(io, option);
      const nothing = { services: [], appServers: [], tariffs: [] };
      // Looking must not make a data folder where there is none.
      const isThere = config.store !== undefined || existsSync(config.data);
      const known = isThere ? await withStore(config, knownIn) : nothing;
      const { name, path } = readConfig(io, option, known);
      if (path !== undefined) io.err(warningText(io, adviceOn(path, config, known)));
      const counts = [
        [config.services.length + known.services.length, "services"],
        [config.appServers.length + known.appServers.length, "app servers"],
        [config.tariffs.length + known.tariffs.length, "tariffs"],
        [config.rules.length, "rules"],
      ];
      io.out(
        `${name}: ok (${counts.map(([count, what]) => `${count} ${what}`).join(", ")}, with those in the store)\n`,
      );
    });
}
