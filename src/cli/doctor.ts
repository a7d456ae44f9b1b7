import type { Command } from "commander";
import { printable } from "../charging/bills/format.ts";
import { readConfig } from "./context.ts";
import type { Diagnosis } from "./doctor/checks.ts";
import type { Grade } from "./doctor/types.ts";
import { CliError, EXIT, type Io } from "./io.ts";

interface DoctorOptions {
  readonly json?: boolean;
  readonly timeout: string;
  readonly dns?: string;
}

const MARKS: Readonly<Record<Grade, string>> = { ok: "ok      ", warning: "warning ", problem: "PROBLEM " };

/** `tollgate doctor`. */
export function addDoctorCommand(program: Command, io: Io, setCode: (code: number) => void): void {
  program
    .command("doctor")
    .description("look whether a relay can work with this configuration, on this machine, and say what to do")
    .option("--json", "one JSON document")
    .option("--timeout <seconds>", "the longest that one check may take", "10")
    .option("--dns <server>", "whom to ask about the portal's domains, such as 192.0.2.53; default: as the system says")
    .addHelpText(
      "after",
      `
It looks at ports, certificates, DNS, clock, NATS, MongoDB, limits of the system, and whether clients can reach what
Contact says. It changes nothing, and may be run beside a relay that runs.

Exit codes: 0 no problem (there may be warnings), 1 a problem, 2 the configuration cannot be read.

Examples:
  $ tollgate doctor
  $ tollgate doctor --config /etc/tollgate/tollgate.yaml --json`,
    )
    .action(async (options: DoctorOptions, command: Command) => {
      const seconds = Number(options.timeout);
      if (!(seconds >= 0.1 && seconds <= 600))
        throw new CliError(`--timeout: expected seconds from 0.1 to 600; found "${options.timeout}"`, EXIT.usage);
      const { config, name } = readConfig(io, command.optsWithGlobals().config);
      const { thisMachine } = await import("./doctor/surroundings.ts");
      const { CHECKS, diagnose } = await import("./doctor/checks.ts");
      const all: Diagnosis[] = [];
      for await (const one of diagnose(thisMachine(config, options.dns?.split(",")), seconds * 1_000)) {
        all.push(one);
        if (options.json) io.err(`${all.length}/${CHECKS.length} ${one.title}\n`);
        else io.out(textOf(one));
      }
      const count = (grade: Grade) =>
        all.flatMap(({ findings }) => findings).filter((one) => one.grade === grade).length;
      const [problems, warnings] = [count("problem"), count("warning")];
      if (options.json) io.out(`${JSON.stringify({ config: name, problems, warnings, checks: all }, null, 2)}\n`);
      else io.out(`\n${name}: ${plural(problems, "problem")}, ${plural(warnings, "warning")}\n`);
      setCode(problems > 0 ? EXIT.failure : EXIT.ok);
    });
}

const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;

function textOf({ title, findings }: Diagnosis): string {
  const lines = findings.flatMap(({ grade, what, todo }) => [
    `  ${MARKS[grade]}${printable(what)}`,
    ...(todo === undefined ? [] : [`          ${printable(todo)}`]),
  ]);
  return `${title}\n${lines.join("\n")}\n`;
}
