import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bodyParts, buildMultipart, type Part } from "../../src/sip/parts.ts";

function parts(contentType: string, body: string): Part[] {
  const read = bodyParts(contentType, Buffer.from(body, "latin1"));
  if (!read.ok) throw new Error(read.error);
  return read.value;
}

const told = (list: readonly Part[]) =>
  list.map(({ contentType, body }) => [contentType.type, body.toString("latin1")]);

const MIXED = 'multipart/mixed;boundary="b 1"';

describe("bodyParts (RFC 2046 §5.1)", () => {
  it("reads each part with its type, without preamble and epilogue", () => {
    const body =
      "preamble\r\n--b 1\r\nContent-Type: application/sdp\r\nContent-Disposition:\r\n session\r\n\r\nv=0\r\n\r\n--b 1  \r\ncontent-type: Application/XML;charset=utf-8\r\n\r\n<a/>\r\n--b 1--\r\nepilogue";
    const read = parts(MIXED, body);
    expect(told(read)).toEqual([
      ["application/sdp", "v=0\r\n"],
      ["application/xml", "<a/>"],
    ]);
    expect(read[0]?.headers.get("content-disposition")).toBe("session");
    expect(read[1]?.contentType.params.get("charset")).toBe("utf-8");
  });

  it("takes a body that is no multipart as its only part", () => {
    expect(told(parts("application/sdp", "v=0"))).toEqual([["application/sdp", "v=0"]]);
  });

  it("takes a part without Content-Type for plain text (§5.2), also an empty one", () => {
    expect(told(parts(MIXED, "--b 1\r\n\r\nhello\r\n--b 1\r\n\r\n\r\n--b 1\r\n\r\n--b 1--"))).toEqual([
      ["text/plain", "hello"],
      ["text/plain", ""],
      ["text/plain", ""],
    ]);
  });

  it("does not take a longer boundary, or one within a line, for its own", () => {
    expect(told(parts(MIXED, "--b 1\r\n\r\n--b 12\r\nx--b 1\r\n--b 1--\r\n"))).toEqual([
      ["text/plain", "--b 12\r\nx--b 1"],
    ]);
  });

  it("takes lines that end with LF alone", () => {
    expect(told(parts(MIXED, "--b 1\nContent-Type: a/b\n\nx\n--b 1--\n"))).toEqual([["a/b", "x"]]);
  });

  it("does not open multiparts within", () => {
    const inner = "--i\r\n\r\nx\r\n--i--";
    expect(told(parts(MIXED, `--b 1\r\nContent-Type: multipart/mixed;boundary=i\r\n\r\n${inner}\r\n--b 1--`))).toEqual([
      ["multipart/mixed", inner],
    ]);
  });

  it("reads the message of RFC 4475 §3.1.1.11, whose second part is binary", () => {
    const bytes = readFileSync(new URL("../conformance/torture/mpart01.dat", import.meta.url));
    const body = bytes.subarray(bytes.indexOf("\r\n\r\n") + 4);
    const read = bodyParts("multipart/mixed;boundary=7a9cbec02ceef655", body);
    expect(read.ok && read.value.map((part) => [part.contentType.type, part.body.length])).toEqual([
      ["text/plain", 5],
      ["application/octet-stream", 342],
    ]);
  });

  it.each([
    ["", "x"],
    ["multipart/mixed", "--b\r\n\r\nx\r\n--b--"],
    ["multipart/mixed;boundary=\u00fc", "--\u00fc\r\n\r\nx\r\n--\u00fc--"],
    [`multipart/mixed;boundary=${"b".repeat(71)}`, "x"],
    [MIXED, "no delimiter"],
    [MIXED, "--b 1\r\n\r\nnever closed"],
    [MIXED, "--b 1\r\nno colon\r\n\r\nx\r\n--b 1--"],
    [MIXED, "--b 1\r\nContent-Type: nonsense\r\n\r\nx\r\n--b 1--"],
    [MIXED, `${"--b 1\r\n\r\n".repeat(40)}--b 1--`],
    [MIXED, `--b 1\r\n${"X: y\r\n".repeat(40)}\r\nx\r\n--b 1--`],
  ])("refuses %j", (contentType, body) => {
    expect(bodyParts(contentType, Buffer.from(body, "latin1")).ok).toBe(false);
  });
});

describe("buildMultipart", () => {
  it("writes what reads the same", () => {
    const binary = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const { contentType, body } = buildMultipart(
      [
        {
          contentType: "application/sdp",
          body: Buffer.from("v=0\r\n"),
          headers: [
            ["Content-Disposition", "session\r\nX-Evil: 1\u010d\u010aX-Evil: 2"],
            ["X-Evil: 3\u010d\u010aX-Evil", "4"],
          ],
        },
        { contentType: "application/octet-stream", body: binary },
      ],
      "token",
    );
    const read = bodyParts(contentType, body);
    expect(read.ok && read.value.map((part) => part.body)).toEqual([Buffer.from("v=0\r\n"), binary]);
    expect(read.ok && read.value[0]?.headers.fields.map(({ key }) => key)).toEqual([
      "content-type",
      "content-disposition",
      "_x-evil__3__x-evil",
    ]);
  });

  it("changes a boundary that stands in a part", () => {
    const part = { contentType: "text/plain", body: Buffer.from("x\r\n--token\r\n--token1--\r\n") };
    const { contentType, body } = buildMultipart([part], "token", "alternative");
    expect(contentType).toMatch(/^multipart\/alternative;boundary="token\d+"$/);
    const read = bodyParts(contentType, body);
    expect(read.ok && read.value[0]?.body.equals(part.body)).toBe(true);
  });
});
