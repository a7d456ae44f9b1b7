import { shown } from "./peer-log.ts";
import { err, ok, type Result } from "./result.ts";

/** A record of a CSV file, by the names in its header row. */
export interface CsvRow {
  /** The line of the file on which the record begins, from 1. */
  readonly line: number;
  /** Undefined: the row has another number of fields than the header. */
  readonly fields: ReadonlyMap<string, string> | undefined;
}

const MAX_RECORD = 65_536;
const MAX_SHOWN = 120;

/**
 * Reads CSV (RFC 4180) as it comes. The header row says whether commas, semicolons or tabs stand between the fields.
 * Its names are read in lower case, with `-` and blanks as `_`. Blank lines are left out. Yields an error, and ends,
 * where a record does not end within 64 kB, the text ends within quotes, or there is no header row with the column
 * `needs`: rows without a header row, and a command before the pipe that failed, look like that.
 */
export async function* readCsv(chunks: AsyncIterable<string>, needs: string): AsyncGenerator<Result<CsvRow, string>> {
  const splitter = new Splitter();
  let header: string[] | undefined;
  const rowOf = ({ line, values }: Split): Result<CsvRow, string> | undefined => {
    if (values.length === 1 && values[0]!.trim() === "") return undefined;
    if (header === undefined) {
      header = values.map((name) => name.trim().toLowerCase().replace(/[- ]/g, "_"));
      const twice = header.find((name, i) => header!.indexOf(name) !== i);
      if (twice !== undefined) return err(`the header row has ${shown(twice)} twice`);
      if (header.includes(needs)) return undefined;
      return err(`the header row has no column ${needs}; it has ${shown(header.join(", "), MAX_SHOWN)}`);
    }
    const names = header;
    if (values.length !== names.length) return ok({ line, fields: undefined });
    return ok({ line, fields: new Map(names.map((name, i) => [name, values[i]!])) });
  };
  for await (const chunk of chunks) {
    for (const split of splitter.take(chunk)) {
      const row = rowOf(split);
      if (row) yield row;
      if (row?.ok === false) return;
    }
    if (splitter.isTooLong) {
      yield err(`line ${splitter.line}: a record of more than 64 kB; is a quote left open?`);
      return;
    }
  }
  const rest = splitter.end();
  if (!rest.ok) yield rest;
  else if (rest.value) {
    const row = rowOf(rest.value);
    if (row) yield row;
    if (row?.ok === false) return;
  }
  if (rest.ok && header === undefined) yield err("it is empty, and has no header row");
}

interface Split {
  readonly line: number;
  readonly values: string[];
}

/** Cuts text into records and fields. */
class Splitter {
  line = 1;
  private delimiter: string | undefined;
  private text = "";
  private isFirst = true;

  get isTooLong(): boolean {
    return this.text.length > MAX_RECORD;
  }

  *take(chunk: string): Generator<Split> {
    this.text += chunk;
    if (this.isFirst && this.text !== "") {
      this.isFirst = false;
      if (this.text.charCodeAt(0) === 0xfe_ff) this.text = this.text.slice(1);
    }
    for (;;) {
      const end = this.recordEnd();
      if (end < 0) return;
      yield this.cut(this.text.slice(0, end));
      this.text = this.text.slice(end + 1);
    }
  }

  end(): Result<Split | undefined, string> {
    if (this.text === "") return ok(undefined);
    this.text += "\n";
    const end = this.recordEnd();
    if (end < 0) return err(`line ${this.line}: a quote is left open`);
    return ok(this.cut(this.text.slice(0, end)));
  }

  /** The place of the line feed that ends the first record; below 0: it is not there yet. */
  private recordEnd(): number {
    let from = 0;
    let quotes = 0;
    for (;;) {
      const end = this.text.indexOf("\n", from);
      if (end < 0) return -1;
      for (let i = this.text.indexOf('"', from); i >= 0 && i < end; i = this.text.indexOf('"', i + 1)) quotes++;
      if (quotes % 2 === 0) return end;
      from = end + 1;
    }
  }

  private cut(record: string): Split {
    const { line } = this;
    for (let i = record.indexOf("\n"); i >= 0; i = record.indexOf("\n", i + 1)) this.line++;
    this.line++;
    const text = record.endsWith("\r") ? record.slice(0, -1) : record;
    this.delimiter ??= ["\t", ";", ","].find((one) => text.includes(one)) ?? ",";
    return { line, values: fieldsOf(text, this.delimiter) };
  }
}

function fieldsOf(text: string, delimiter: string): string[] {
  if (!text.includes('"')) return text.split(delimiter);
  const fields: string[] = [];
  let at = 0;
  for (;;) {
    let value = "";
    if (text[at] === '"') {
      at++;
      for (;;) {
        const end = text.indexOf('"', at);
        value += end < 0 ? text.slice(at) : text.slice(at, end);
        at = end < 0 ? text.length : end + 1;
        if (text[at] !== '"') break;
        value += '"';
        at++;
      }
    }
    const next = text.indexOf(delimiter, at);
    fields.push(value + (next < 0 ? text.slice(at) : text.slice(at, next)));
    if (next < 0) return fields;
    at = next + delimiter.length;
  }
}
