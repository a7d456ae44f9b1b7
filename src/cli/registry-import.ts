import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { z } from "zod";
import { readCsv } from "../support/csv.ts";
import { CliError, EXIT, type Io } from "./io.ts";

/** The part of a JSON schema that says what a column is. */
interface Node {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly anyOf?: readonly Node[];
}

/** A row as the schema wants it, or why it cannot be. */
export interface ImportedRow {
  readonly line: number;
  readonly id: string;
  readonly given: Readonly<Record<string, unknown>> | undefined;
  readonly problem?: string;
}

/**
 * The rows of a CSV file whose columns are the fields of a schema, however they are written: `incrementS`,
 * `increment_s`, `increment-s`, `limits.day`. Lists have blanks, commas or `|` between their entries. Ends the command
 * at a column that the schema does not know, and where the file cannot be read.
 */
export async function* rowsFor(schema: z.ZodType, io: Io, file: string): AsyncGenerator<ImportedRow> {
  const columns = columnsOf(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Node);
  for await (const row of readCsv(textOf(io, file))) {
    if (!row.ok) throw new CliError(`${file}: ${row.error}`);
    const { line, fields } = row.value;
    if (!fields) {
      yield { line, id: "", given: undefined, problem: "it has another number of fields than the header row" };
      continue;
    }
    const given: Record<string, unknown> = {};
    for (const [name, text] of fields) {
      const column = columns.get(plain(name));
      if (column === undefined)
        throw new CliError(
          `${file}: unknown column ${name}; known: ${[...columns.values()].map(({ path }) => path.join(".")).join(", ")}`,
          EXIT.usage,
        );
      if (text.trim() !== "") put(given, column.path, fieldValue(text.trim(), column.type));
    }
    yield { line, id: typeof given.id === "string" ? given.id : "", given };
  }
}

interface Column {
  readonly path: readonly string[];
  readonly type: string;
}

const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

function columnsOf(node: Node, path: readonly string[] = []): Map<string, Column> {
  const columns = new Map<string, Column>();
  for (const [name, below] of Object.entries(node.properties ?? {})) {
    const here = [...path, name];
    if (below.properties) for (const [key, column] of columnsOf(below, here)) columns.set(key, column);
    else columns.set(plain(here.join(".")), { path: here, type: below.type ?? below.anyOf?.[0]?.type ?? "string" });
  }
  return columns;
}

function put(into: Record<string, unknown>, [first, ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    into[first!] = value;
    return;
  }
  into[first!] ??= {};
  put(into[first!] as Record<string, unknown>, rest, value);
}

/** As text where it is none of the type: the schema then says what it expects. */
function fieldValue(text: string, type: string): unknown {
  if (type === "array") return text.split(/[\s,|]+/).filter((one) => one !== "");
  if (type === "boolean") return /^(true|yes|1)$/i.test(text) ? true : /^(false|no|0)$/i.test(text) ? false : text;
  if (type !== "number" && type !== "integer") return text;
  return Number.isFinite(Number(text)) ? Number(text) : text;
}

/** The text of the file, as it is read; `-`: standard input. */
export async function* textOf(io: Io, file: string): AsyncGenerator<string> {
  const stream = file === "-" ? io.stdin : createReadStream(resolve(io.cwd, file));
  const decoder = new TextDecoder();
  try {
    for await (const chunk of stream) yield typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
    yield decoder.decode();
  } catch (error) {
    throw new CliError(`${file} cannot be read: ${error instanceof Error ? error.message : error}`, EXIT.usage);
  }
}
