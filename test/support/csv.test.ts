import { describe, expect, it } from "vitest";
import { readCsv } from "../../src/support/csv.ts";

/** The rows of a text, read in pieces of `size` characters. */
async function rows(text: string, size = text.length, needs = "a") {
  async function* pieces() {
    for (let i = 0; i < text.length; i += Math.max(1, size)) yield text.slice(i, i + Math.max(1, size));
  }
  const all = [];
  for await (const row of readCsv(pieces(), needs))
    all.push(row.ok ? [row.value.line, row.value.fields && Object.fromEntries(row.value.fields)] : row.error);
  return all;
}

describe("CSV (RFC 4180)", () => {
  const text = '\ufeffUser,Say-What\r\nann,"a ""b"", c"\r\n\r\n"x\ny",\nlast,end';
  const read = [
    [2, { user: "ann", say_what: 'a "b", c' }],
    [4, { user: "x\ny", say_what: "" }],
    [6, { user: "last", say_what: "end" }],
  ];

  it.each([1, 2, 7, text.length])(
    "is read in pieces of %i characters, with the lines on which records begin",
    async (size) => {
      expect(await rows(text, size, "user")).toEqual(read);
    },
  );

  it.each(["\t", ";", ","])("has %j between its fields where its header has", async (by) => {
    expect(await rows(`a${by}b\n1${by}2\n`)).toEqual([[2, { a: "1", b: "2" }]]);
  });

  it("has a row of another length reported, and goes on", async () => {
    expect(await rows("a,b\n1\n1,2")).toEqual([
      [2, undefined],
      [3, { a: "1", b: "2" }],
    ]);
  });

  it("ends with an error at a quote that is left open", async () => {
    expect(await rows('a,b\n1,"2\n3,4\n')).toEqual(["line 2: a quote is left open"]);
    expect(await rows(`a,b\n1,"${"x".repeat(70_000)}`, 1_000)).toEqual([
      expect.stringContaining("line 2: a record of more"),
    ]);
  });

  it("ends with an error where two columns have one name", async () => {
    expect(await rows("a,A\n1,2")).toEqual(["the header row has a twice"]);
  });

  it.each([
    ["", "it is empty, and has no header row"],
    ["\n \n", "it is empty, and has no header row"],
    ["b,c\n1,2\n", "the header row has no column a; it has b, c"],
    ["b,c", "the header row has no column a; it has b, c"],
  ])("ends with an error where the header row is not what is needed: %j", async (text, error) => {
    expect(await rows(text)).toEqual([error]);
  });
});
