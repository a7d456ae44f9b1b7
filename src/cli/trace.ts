import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { dropTrace, exportTrace, listTraces, sendTrace, startTrace, stopTrace } from "../operations/traces.ts";
import type { TraceView } from "../trace/traces.ts";
import { ask } from "./ask.ts";
import { CliError, EXIT, type Io, table } from "./io.ts";
import { sayMissing } from "./missing.ts";
import { remotely } from "./remote.ts";

const NOT_IN_IT = "what it has recorded is not in this";

interface StartOptions {
  readonly user?: string;
  readonly service?: string;
  readonly callId?: string;
  readonly sample?: string;
  readonly most: string;
  readonly hep?: string;
}

/** `tollgate trace`. */
export function addTraceCommands(program: Command, io: Io): void {
  const group = program.command("trace").description("record chosen calls of the running relay, and export them");
  remotely(group.command("start"))
    .description("record the calls that fit, from their first message on, until the trace is stopped")
    .argument("<name>", "a name for the trace")
    .option("--user <id>", "calls of that user")
    .option("--service <id>", "calls for that service")
    .option("--call-id <id>", "the call with that Call-ID")
    .option("--sample <number>", "one call in so many")
    .option("--most <number>", "so many calls", "100")
    .option("--hep <host:port>", "send each message to a Homer as well, as HEP3 over UDP")
    .addHelpText(
      "after",
      `
A trace is in the relay's memory: 16 MB at most, and gone when the relay stops. In a cluster it records at all nodes
that are there. Credentials, passwords and keys are left out of whatever is exported or sent.

Examples:
  $ tollgate trace start why --user alice
  $ tollgate trace start some --sample 100 --hep 10.0.0.9:9060
  $ tollgate trace export why --format pcap --to why.pcap`,
    )
    .action(async (name: string, options: StartOptions, command: Command) => {
      const { user, service, callId, hep } = options;
      const body = {
        name,
        ...(user !== undefined && { user }),
        ...(service !== undefined && { service }),
        ...(callId !== undefined && { callId }),
        ...(options.sample !== undefined && { sample: numberOf("--sample", options.sample) }),
        ...(hep !== undefined && { hep }),
        most: numberOf("--most", options.most),
      };
      const { missing } = await ask(io, command, startTrace, body);
      sayMissing(io, missing, "it records nothing there");
      io.out(`trace ${name} runs; tollgate trace stop ${name} ends it\n`);
    });

  remotely(group.command("stop"))
    .description("record nothing more; what was recorded can still be exported")
    .argument("<name>", "the trace")
    .option("--drop", "forget what was recorded")
    .action(async (name: string, { drop = false }: { drop?: boolean }, command: Command) => {
      const { missing } = await ask(io, command, drop ? dropTrace : stopTrace, { name });
      sayMissing(io, missing, "the trace may go on there");
      io.out(`trace ${name} ${drop ? "dropped" : "stopped"}\n`);
    });

  remotely(group.command("list"))
    .description("list the traces")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { traces, missing } = await ask(io, command, listTraces, {});
      sayMissing(io, missing, NOT_IN_IT);
      if (options.json) io.out(`${JSON.stringify(traces, null, 2)}\n`);
      else
        io.out(
          traces.length === 0
            ? "no traces\n"
            : table(["TRACE", "OF", "SINCE", "CALLS", "MESSAGES", "STATE"], traces.map(row)),
        );
    });

  remotely(group.command("export"))
    .description("write what was recorded")
    .argument("<name>", "the trace")
    .option(
      "--format <format>",
      "text (ladder and messages), json, pcap (Wireshark, sngrep), hep (send it to a Homer)",
      "text",
    )
    .option("--to <where>", "a file; for hep a host and port; default, but for pcap and hep: standard output")
    .action(async (name: string, { format, to }: { format: string; to?: string }, command: Command) => {
      if (format === "hep" && to === undefined) throw new CliError("--to: the host and port of a Homer", EXIT.usage);
      if (format === "pcap" && to === undefined) throw new CliError("--to: a file for the capture", EXIT.usage);
      if (format === "hep") {
        const { sent, missing } = await ask(io, command, sendTrace, { name, to });
        sayMissing(io, missing, NOT_IN_IT);
        io.out(`${sent} messages sent to ${to}\n`);
        return;
      }
      const content = (await ask(io, command, exportTrace, { name, format })) as unknown as Buffer;
      sayMissing(io, (await ask(io, command, listTraces, {})).missing, NOT_IN_IT);
      if (to === undefined) io.out(content.toString("utf8"));
      else {
        writeFileSync(resolve(io.cwd, to), content, { mode: 0o600 });
        io.out(`${to} written\n`);
      }
    });
}

function numberOf(option: string, text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= 1) return number;
  throw new CliError(`${option}: expected a number; found ${text}`, EXIT.usage);
}

function row({ name, filter, since, calls, messages, running, full }: TraceView): string[] {
  const of = Object.entries(filter).map(([key, value]) => `${key} ${value}`);
  const state = running ? (full ? "full" : "runs") : "stopped";
  return [name, of.join(", ") || "all calls", new Date(since).toISOString(), String(calls), String(messages), state];
}
