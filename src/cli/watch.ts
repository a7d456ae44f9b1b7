import type { Command } from "commander";
import { controlPath, openControl, type Unanswered } from "../console/control.ts";
import { watchCalls } from "../console/events-route.ts";
import { notAnswered } from "./ask.ts";
import { readConfig } from "./context.ts";
import type { Io } from "./io.ts";
import { remotely, remoteOf } from "./remote.ts";
import { requestFor } from "./request.ts";

interface WatchOptions {
  readonly user?: string;
  readonly service?: string;
  readonly callId?: string;
  readonly full?: boolean;
  readonly json?: boolean;
}

/** `tollgate watch`. */
export function addWatchCommand(program: Command, io: Io): void {
  remotely(program.command("watch"))
    .description("print what happens in calls as it happens: messages, transitions of the charts, charges, timers")
    .option("--user <id>", "calls of that user")
    .option("--service <id>", "calls for that service")
    .option("--call-id <id>", "the call with that Call-ID, also of a stranger")
    .option("--full", "whole messages")
    .option("--json", "as JSON lines")
    .addHelpText(
      "after",
      `
A call is printed from its first message on, once it is known who calls. Credentials, passwords and keys are left out.
It ends with Ctrl-C, or when the relay stops.

Examples:
  $ tollgate watch
  $ tollgate watch --user alice --full`,
    )
    .action(async (options: WatchOptions, command: Command) => {
      const { user, service, callId, full } = options;
      const given = { user, service, callId, ...(full && { full: "1" }) };
      const print = options.json ? (line: WatchLine) => `${JSON.stringify(line)}\n` : lineText;
      await follow(io, command, requestFor(watchCalls, given).url, (line) => {
        if (line.kind === "ready") io.err("watching; Ctrl-C ends it\n");
        else io.out(print(line));
      });
    });
}

/** One line of what is watched. */
interface WatchLine {
  readonly kind: string;
  readonly at?: number;
  readonly call?: string;
  readonly user?: string;
  readonly service?: string;
  readonly text?: string;
  readonly missed?: number;
  readonly node?: string;
  readonly message?: string;
}

/**
 * Reads events until Ctrl-C, or until the relay ends them. If it has dropped this reader, who was too slow, the stream
 * is taken up again.
 */
async function follow(io: Io, command: Command, url: string, heard: (line: WatchLine) => void): Promise<void> {
  let stop = () => {};
  let isStopped = false;
  const offs = (["SIGINT", "SIGTERM"] as const).map((name) =>
    io.onSignal(name, () => {
      isStopped = true;
      stop();
    }),
  );
  const remote = remoteOf(io, command);
  const { config } = remote ? {} : readConfig(io, command.optsWithGlobals().config);
  try {
    let last: string | undefined;
    for (let again = true; again; ) {
      again = false;
      const headers = { accept: "text/event-stream", ...(last !== undefined && { "last-event-id": last }) };
      const stops = (end: () => void) => {
        stop = end;
      };
      const response = remote
        ? await remote.open(url, headers, stops)
        : await openControl(controlPath(config!.data), url, headers, stops).catch((error) => {
            throw notAnswered(config!, error as Unanswered);
          });
      const isFirst = last === undefined;
      for await (const { id, data } of eventsIn(response)) {
        last = id ?? last;
        const line = JSON.parse(data) as WatchLine;
        if (line.kind === "dropped") again = true;
        else if (line.kind !== "ready" || isFirst) heard(line);
      }
    }
  } catch (error) {
    if (!isStopped) throw error;
  } finally {
    for (const off of offs) off();
  }
}

/** The events of a stream (HTML §9.2.6), until it ends. */
async function* eventsIn(response: AsyncIterable<Buffer>): AsyncGenerator<{ id: string | undefined; data: string }> {
  let text = "";
  const decoder = new TextDecoder();
  try {
    for await (const piece of response) {
      text += decoder.decode(piece, { stream: true });
      const events = text.split("\n\n");
      text = events.pop()!;
      for (const event of events) {
        const data = /^data: (.*)$/m.exec(event)?.[1];
        if (data !== undefined) yield { id: /^id: (.*)$/m.exec(event)?.[1], data };
      }
    }
  } catch (error) {
    if (!["ECONNRESET", "ERR_STREAM_PREMATURE_CLOSE"].includes((error as NodeJS.ErrnoException).code ?? ""))
      throw error;
  }
}

function lineText({ kind, at, call, user, service, text, missed, node, message }: WatchLine): string {
  if (at === undefined && kind !== "gap") return "";
  if (at === undefined) {
    const whose = node === undefined ? "" : ` of node ${printable(node)}`;
    return `${missed ?? (whose === "" ? "some" : "all")} lines${whose} are missing here\n`;
  }
  const time = new Date(at).toISOString().slice(11, 23);
  const who = `${call === undefined ? "-" : call.slice(0, 8)} ${user || "-"} ${service || "-"}`;
  const line = `${time}  ${who.padEnd(28)}  ${text}\n`;
  if (message === undefined) return printable(line);
  const body = message.split(/\r\n|\n/).map((one) => `    ${one}`.trimEnd());
  return `${printable(line)}${printable(body.join("\n"))}\n`;
}

/** Text of peers must not control the terminal. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e\n]/g, "?");
