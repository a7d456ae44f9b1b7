import type { Command } from "commander";
import { CliError, EXIT, type Io } from "./io.ts";

/** `tollgate machines`. */
export function addMachinesCommand(program: Command, io: Io): void {
  program
    .command("machines")
    .description("print the statecharts as Mermaid diagrams")
    .argument("[name]", "only this chart")
    .addHelpText("after", "\nExample:\n  $ tollgate machines session > session.mmd")
    .action(async (name: string | undefined) => {
      const { renderMachines, renderMachinesReadme } = await import("./machines-diagram.ts");
      if (name === undefined) {
        // Several diagrams in one Mermaid text are no diagram: with headings they are Markdown.
        io.out(renderMachinesReadme());
        return;
      }
      const machines = renderMachines();
      const chosen = machines.find((machine) => machine.name === name);
      if (!chosen)
        throw new CliError(
          `no chart ${name}; there are: ${machines.map((machine) => machine.name).join(", ")}`,
          EXIT.usage,
        );
      io.out(`${chosen.mermaid.trimEnd()}\n`);
    });
}
