/* What bills, settlements and records have in common when they are written down. */

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
 * Columns that a text takes in a terminal: two for an East Asian wide character or an emoji, none for a mark that
 * stands on another.
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

/** Whoever names an item must not move the reader's cursor or turn the line around. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\p{Bidi_Control}\u2028\u2029]/gu, "?");
}

/** `h:mm:ss`, begun seconds counted. */
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

/** Columns that hold numbers of our own making: a minus sign in front of them is one. */
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

/** What needs no second look: no formula, no separator, no blank at an end. */
const PLAIN = /^[A-Za-z0-9][A-Za-z0-9._:-]*$/;

/**
 * What a spreadsheet takes for the begin of a formula and runs, where it begins a cell: after blanks, marks of no
 * width and quotes, also in the wide and small forms that East Asian ones take for the same. A cell begins at the
 * begin of the text and wherever one may be cut: not at commas alone, since which separator a file has is decided by
 * the language of whoever opens it, and quotes are none in the middle of a line.
 */
const FORMULAS = /(^|[;,|\t\r\n\u2028\u2029；，])(?=["'“”‘’\p{Cf}\p{Zs}]*[=+\-@＝＋－＠﹦﹢﹣﹫−])/gu;
/** Separators, breaks of lines, quotes, and blanks at an end (RFC 4180). */
const QUOTED = /[",;|\t\r\n\u2028\u2029；，]|^\s|\s$/;
/** Nothing that a file of text has, and where some programs stop to read. */
const CONTROLS = /[^\P{Cc}\t\r\n]/gu;

function cell(column: string, value: string | number): string {
  const raw = String(value);
  if (PLAIN.test(raw)) return raw;
  if (NUMBERS.has(column) && /^-?\d+(\.\d+)?$/.test(raw)) return raw;
  const text = raw.replace(CONTROLS, "?").replace(FORMULAS, "$1'"); // an apostrophe says: text
  return QUOTED.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
