/* What the texts of bills, settlements and records have in common. */

/** A line in columns: what, how much of it, what it costs. */
export type Line = readonly [what: string, measure: string, amount: string] | readonly [heading: string];

/** Lines in columns, the amounts at the right. */
export function align(lines: readonly Line[]): string {
  let first = 0;
  let second = 0;
  let third = 0;
  for (const [what, measure, amount] of lines) {
    if (measure === undefined) continue;
    first = Math.max(first, width(what));
    second = Math.max(second, measure.length);
    third = Math.max(third, amount!.length);
  }
  const one = ([what, measure, amount]: Line) =>
    measure === undefined
      ? what
      : `${what}${" ".repeat(first - width(what))}  ${measure.padStart(second)}  ${amount!.padStart(third)}`;
  return `${lines.map(one).join("\n")}\n`;
}

/**
 * How many columns a text takes in a terminal: two for an East Asian wide character or an emoji, none for a combining
 * mark.
 */
function width(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let columns = 0;
  for (const character of text) {
    if (/\p{Mark}|\p{Cf}/u.test(character)) continue;
    columns += WIDE.test(character) ? 2 : 1;
  }
  return columns;
}

const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;

/** Makes text safe for a terminal: an item's name must not move the reader's cursor or reverse the line. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\p{Bidi_Control}\u2028\u2029]/gu, "?");
}

/** `h:mm:ss`, rounded up to whole seconds. */
export function duration(durationMs: number): string {
  const seconds = Math.ceil(durationMs / 1000);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

/** UTC: `2026-01-05 10:00:00`. */
export function timeOf(at: number): string {
  return new Date(at).toISOString().slice(0, 19).replace("T", " ");
}

export const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;

export const iso = (at: number): string => new Date(at).toISOString();

/** Columns with numbers that we have made: a minus sign in them is no formula. */
const NUMBERS = new Set(
  "amount,unit_price,quantity,duration_ms,rate,owed,time_amount,items_amount,corrections_amount".split(","),
);

export type CsvValue = string | number | undefined;

/** A row of CSV (RFC 4180) with its line break, from values by the names of the columns. */
export function csvRow(columns: readonly string[], cells: Readonly<Record<string, CsvValue>>): string {
  return csvLine(
    columns,
    columns.map((name) => cells[name]),
  );
}

/** The same from values in the order of the columns. */
export function csvLine(columns: readonly string[], values: readonly CsvValue[]): string {
  let line = "";
  for (let i = 0; i < columns.length; i++) {
    const value = values[i];
    if (i > 0) line += ",";
    if (value !== undefined && value !== "") line += cell(columns[i]!, value);
  }
  return `${line}\r\n`;
}

/** Text that is safe as it is: no formula, no separator, no space at an end. */
const PLAIN = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/;

/**
 * What a spreadsheet would run as a formula, if it begins a cell: perhaps after spaces, invisible marks and quotes, and
 * also in the wide and small forms of East Asian scripts. A cell begins at the start of the text, and after anything
 * that may be taken for a separator. That is not only the comma: the separator depends on the reader's language, and
 * quotes in the middle of a line do not protect.
 */
const FORMULAS = /(^|[;,|\t\r\n\u2028\u2029；，])(?=["'“”‘’\p{Cf}\p{Zs}]*[=+\-@＝＋－＠﹦﹢﹣﹫−])/gu;
/** Text that needs quotes: it has separators, line breaks, quotes, or spaces at an end (RFC 4180). */
const QUOTED = /[",;|\t\r\n\u2028\u2029；，]|^\s|\s$/;
/** Control characters that do not belong in a text file. Some programs stop reading at them. */
const CONTROLS = /[^\P{Cc}\t\r\n]/gu;

function cell(column: string, value: string | number): string {
  const raw = String(value);
  if (PLAIN.test(raw)) return raw;
  if (NUMBERS.has(column) && /^-?\d+(\.\d+)?$/.test(raw)) return raw;
  const text = raw.replace(CONTROLS, "?").replace(FORMULAS, "$1'"); // an apostrophe says: text
  return QUOTED.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
