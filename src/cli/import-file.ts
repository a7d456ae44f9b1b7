import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { CliError, EXIT, type Io } from "./io.ts";

/** What an operation takes at once. */
const MOST_CHARS = 16_000_000;

/** The text of a file that is imported; `-`: standard input. Ends the command where it cannot be read. */
export async function importedText(io: Io, file: string): Promise<string> {
  const stream = file === "-" ? io.stdin : createReadStream(resolve(io.cwd, file));
  const decoder = new TextDecoder();
  let text = "";
  try {
    for await (const chunk of stream) {
      text += typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
      if (text.length > MOST_CHARS) throw new Error("it is longer than 16 million characters: split it");
    }
    return text + decoder.decode();
  } catch (error) {
    throw new CliError(`${file} cannot be read: ${error instanceof Error ? error.message : error}`, EXIT.usage);
  }
}

/** Says which rows were not taken, and why. */
export function sayNotTaken(
  io: Io,
  notTaken: readonly { readonly line: number; readonly id: string; readonly reason: string }[],
): void {
  for (const { line, id, reason } of notTaken)
    io.err(`${line === 0 ? "" : `line ${line}: `}${id === "" ? "" : `${id}: `}${reason}\n`);
}
