/*
 * Pages to print: one file with nothing beside it, no scripts, black on white, A4.
 */

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * Escapes text for an element or a quoted attribute. Characters that would reverse the line, or are not allowed in
 * HTML, become question marks.
 */
export function escapeHtml(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cs}\p{Bidi_Control}\u2028\u2029]/gu, "?")
    .replace(/[&<>"']/g, (character) => ESCAPES[character]!);
}

const STYLE = `@page{size:A4;margin:18mm 16mm 20mm}
body{font:10.5pt/1.4 system-ui,"Noto Sans","DejaVu Sans",sans-serif;color:#111;background:#fff;max-width:178mm;margin:10mm auto}
h1{font-size:18pt;margin:0 0 2mm}h2{font-size:12.5pt;margin:7mm 0 1.5mm;break-after:avoid}
p{margin:0 0 2mm}.note{color:#555}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
thead{display:table-header-group}tr{break-inside:avoid}
th{text-align:left;font-weight:600;font-size:9pt;color:#444;border-bottom:1.5px solid #444;padding:1mm 2mm 1mm 0}
td{padding:.8mm 2mm .8mm 0;vertical-align:top;border-bottom:1px solid #ddd;overflow-wrap:anywhere}
.n{text-align:right;white-space:nowrap;padding-right:0;padding-left:3mm}.w{white-space:nowrap}
.s td{border-bottom:0;padding-top:2mm;break-after:avoid}.i{padding-left:6mm}.d{color:#555;font-size:9pt}
.sum td{font-weight:600;border-bottom:0;border-top:1px solid #444}
.due td{font-weight:700;font-size:13pt;border-top:1.5px solid #111;border-bottom:3px double #111;padding:1.5mm 0}
th.n{width:32mm}.d.n{white-space:normal}
.totals{break-inside:avoid;margin-top:8mm;width:66%;margin-left:auto}
@media print{body{margin:0;max-width:none}}`;

/** The page from its start to its heading. */
export function pageStart(title: string, under: string): string {
  const head = `<meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`;
  return `<!DOCTYPE html>\n<html lang="en"><head>${head}<title>${escapeHtml(title)}</title>\n<style>${STYLE}</style></head>\n<body>\n<h1>${escapeHtml(title)}</h1>\n<p>${escapeHtml(under)}</p>\n`;
}

export const PAGE_END = "</body></html>\n";

export const heading = (text: string): string => `<h2>${escapeHtml(text)}</h2>\n`;

export const note = (text: string): string => `<p class="note">${escapeHtml(text)}</p>\n`;

export interface Cell {
  readonly text: string;
  /** `n`: a number, at the right; `w`: never broken; `i`: indented; `d`: small. */
  readonly class?: string;
  readonly span?: number;
}

export const tableStart = (headings: readonly Cell[]): string =>
  `<table><thead><tr>${headings.map((cell) => cellHtml("th", cell)).join("")}</tr></thead><tbody>\n`;
export const TABLE_END = "</tbody></table>\n";

export function row(cells: readonly Cell[], rowClass?: string): string {
  return `<tr${rowClass === undefined ? "" : ` class="${rowClass}"`}>${cells.map((cell) => cellHtml("td", cell)).join("")}</tr>\n`;
}

function cellHtml(tag: "td" | "th", { text, class: name, span }: Cell): string {
  const attributes = `${name === undefined ? "" : ` class="${name}"`}${span === undefined ? "" : ` colspan="${span}"`}`;
  return `<${tag}${attributes}>${escapeHtml(text)}</${tag}>`;
}
