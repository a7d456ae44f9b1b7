import { describe, expect, it } from "vitest";
import { csvLine, csvRow } from "../../src/charging/bills/format.ts";
import { numbers } from "./samples.ts";

const COLUMNS = ["id", "item", "amount"];
const row = (item: string) => csvLine(COLUMNS, ["1", item, "-2.50"]);

/** Cells as a spreadsheet reads them that was told, or believes by its language, that this separates them. */
function cells(text: string, separator: string): string[] {
  const found: string[] = [];
  let cell = "";
  let quoted = false;
  let begins = true;
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (quoted) {
      if (character !== '"') cell += character;
      else if (text[i + 1] === '"') cell += text[i++];
      else quoted = false;
    } else if (character === '"' && begins) {
      quoted = true;
    } else if (character === separator || character === "\n" || character === "\r") {
      found.push(cell);
      cell = "";
      begins = true;
      continue;
    } else cell += character;
    begins = false;
  }
  return [...found, cell];
}

/**
 * A cell that is a number is one, whatever its sign; every other one that begins like this may be run, blanks before it
 * or not.
 */
const isRun = (cell: string): boolean =>
  /^["\s\p{Cf}\p{Cc}]*[=+\-@＝＋－＠﹦﹢﹣﹫−]/u.test(cell) && !/^-?\d+(\.\d+)?$/.test(cell.trim());

describe("a row of CSV (RFC 4180)", () => {
  it("is as it is where nothing in it means anything", () => {
    expect(row("Rioja Crianza 2019 (red) - 0.75 l")).toBe("1,Rioja Crianza 2019 (red) - 0.75 l,-2.50\r\n");
    expect(row("赤ワイン=甘口")).toBe("1,赤ワイン=甘口,-2.50\r\n");
    expect(csvRow(COLUMNS, { amount: 7 })).toBe(",,7\r\n");
  });

  it.each([
    ['Wine, "red"', '"Wine, ""red"""'],
    ["a\nb", '"a\nb"'],
    ["a\r\nb", '"a\r\nb"'],
    ["a;b", '"a;b"'],
    ["a\tb", '"a\tb"'],
    [" a", '" a"'],
    ["a ", '"a "'],
    ["a\0b\u001b[2J", "a?b?[2J"],
  ])("quotes %j", (text, written) => {
    expect(row(text)).toBe(`1,${written},-2.50\r\n`);
    expect(cells(row(text).trimEnd(), ",")[1]).toBe(text.replace(/[\0\u001b]/g, "?"));
  });

  const formulas = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(A1)",
    "﹦1",
    "−1+1",
    '=cmd|"/c calc"!A1',
  ];
  const before = ["", " ", "\t", "\r", "\n", "\u00a0", "\u3000", "\u200b", "\ufeff", "\0", '"', "'", '" ', "“"];
  const cut = ["", "x;", "x\t", "x|", "x\n", "x\r\n", 'x";', 'x","y";', "x\u2028", "x；"];
  it.each(formulas)("disarms the formula %s, whatever stands before it and wherever a cell may be cut", (formula) => {
    for (const separator of [",", ";", "\t", "|"]) {
      for (const blank of before) {
        for (const first of cut) {
          const text = `${first}${blank}${formula}`;
          const found = cells(csvLine(COLUMNS, ["1", text, "-2.50"]).trimEnd(), separator);
          expect(found.filter(isRun), JSON.stringify([separator, text, found])).toEqual([]);
        }
      }
    }
  });

  it("has no cell that is run, and reads as it was written, for any text", () => {
    const random = numbers(3);
    const pieces = [
      "=1+1",
      "＝",
      "-",
      "+",
      "@",
      ";",
      ",",
      "\t",
      "\n",
      "\r",
      '"',
      "'",
      " ",
      "|",
      "a",
      "wine",
      "\u200b",
      "\0",
      "\u3000",
    ];
    for (let n = 0; n < 5_000; n++) {
      const text = Array.from({ length: 1 + (n % 8) }, () => pieces[Math.floor(random() * pieces.length)]).join("");
      const line = row(text).trimEnd();
      for (const separator of [",", ";", "\t", "|"])
        expect(cells(line, separator).filter(isRun), JSON.stringify([separator, text])).toEqual([]);
      // What comes back is the text with apostrophes before what was disarmed.
      const back = cells(line, ",");
      expect(back).toHaveLength(3);
      expect(back[1]!.replaceAll("'", "")).toBe(text.replaceAll("\0", "?").replaceAll("'", ""));
    }
  });

  it("leaves numbers of our own making alone, and nobody else's", () => {
    expect(csvRow(["amount", "item"], { amount: "-1.00", item: "-1.00" })).toBe("-1.00,'-1.00\r\n");
    expect(csvRow(["amount", "item"], { amount: "-1;=2", item: "x" })).toBe("\"'-1;'=2\",x\r\n");
  });
});
