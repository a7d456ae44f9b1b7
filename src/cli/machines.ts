import type { Command } from "commander";
import { CliError, EXIT, type Io } from "./io.ts";

/** `tollgate machines`. */
export function addMachinesCommand(program: Command, io: Io): void {
  program
    .command("machines")
    .description("print the statecharts as Mermaid diagrams (P1)")
    .argument("[name]", "only this chart")
    .addHelpText("after", "\nExample:\n  $ tollgate machines session > session.mmd")
    .action(async (name: string | undefined) => {
      const { renderMachines } = await import("./machines-diagram.ts");
      const machines = renderMachines();
      const chosen = name === undefined ? machines : machines.filter((machine) => machine.name === name);
      if (chosen.length === 0) {
        throw new CliError(`no chart ${name}; there are: ${machines.map((machine) => machine.name).join(", ")}`, EXIT.usage);
      }
      // Several diagrams in one Mermaid text are no diagram: with headings they are Markdown.
      if (name !== undefined) io.out(`${chosen[0]!.mermaid.trimEnd()}\n`);
      else for (const { name, mermaid } of chosen) io.out(`## ${name}\n\n\`\`\`mermaid\n${mermaid.trimEnd()}\n\`\`\`\n\n`);
    });
}
