import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Frame, StreamFramer } from "../../src/sip/frame.ts";
import {
  parseAuthParams,
  parseContentType,
  parseNameAddr,
  parseVia,
  splitList,
  withTag,
} from "../../src/sip/headers.ts";
import type { SipMessage } from "../../src/sip/message.ts";
import { parseMessage } from "../../src/sip/parse.ts";
import { bodyParts } from "../../src/sip/parts.ts";
import { serialize } from "../../src/sip/serialize.ts";
import { formatUri, parseUri } from "../../src/sip/uri.ts";
import { essence, request, seeded } from "./messages.ts";

const folder = new URL("../conformance/torture/", import.meta.url);
const seeds = readdirSync(folder)
  .filter((name) => name.endsWith(".dat"))
  .sort()
  .map((name) => readFileSync(new URL(name, folder)));

/** Pieces that steer a parser. */
const DICTIONARY = [
  "\r\n",
  "\n",
  "\r",
  "\r\n ",
  "\r\n\r\n",
  "\0",
  " ",
  "\t",
  ";",
  ",",
  ":",
  "<",
  ">",
  '"',
  "\\",
  "%",
  "=",
  "@",
  "[",
  "]",
  "?",
  "Via: ",
  "l: 0",
  "l: 99999999999",
  "SIP/2.0",
  "\u00ff",
  "sip:",
  ";tag=",
  "4294967296",
];

const ROUNDS = 4_000;

function mutate(seed: Buffer, random: () => number): Buffer {
  let bytes: Buffer = Buffer.from(seed);
  const pick = (below: number) => Math.floor(random() * below);
  for (let n = 1 + pick(4); n > 0; n--) {
    const at = pick(bytes.length);
    const length = 1 + pick(random() < 0.8 ? 8 : 200);
    const piece = Buffer.from(DICTIONARY[pick(DICTIONARY.length)]!, "latin1");
    switch (pick(5)) {
      case 0:
        bytes[at] = pick(256);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at)]);
        break;
      default:
        bytes = Buffer.from(bytes.subarray(0, at + 1));
    }
  }
  return bytes;
}

/** `expect` on thousands of messages would take longer than to read them. */
const isSame = (a: SipMessage, b: SipMessage): boolean => JSON.stringify(essence(a)) === JSON.stringify(essence(b));

/** What came out of a stream but for pings, of which there is one for each piece. */
const told = (frames: readonly Frame[]): string =>
  frames
    .filter(({ kind }) => kind !== "ping")
    // Of an error the octets that were there are for the log: how many had come by then depends on how they came.
    .map((frame) =>
      frame.kind === "message" ? frame.bytes.toString("latin1") : JSON.stringify({ ...frame, bytes: 0 }),
    )
    .join("\0\0");

/** Reads everything of a message that is read by anyone; nothing of it may throw. */
function readAll(message: SipMessage): void {
  for (const { value } of message.headers.fields) {
    splitList(value);
    parseVia(value);
    parseNameAddr(value);
    parseAuthParams(value);
    parseContentType(value);
    withTag(value, "t");
  }
  bodyParts(message.headers.get("content-type") ?? "", message.body);
}

describe("mutations of the torture messages", () => {
  it(`never throw, and what is read is written so that it reads the same (seed 7, ${ROUNDS} rounds)`, () => {
    const random = seeded(7);
    let accepted = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const bytes = mutate(seeds[Math.floor(random() * seeds.length)]!, random);
      const result = parseMessage(bytes, "datagram");
      if (!result.ok) {
        // What is answered is written, too.
        if (result.error.request) serialize(result.error.request);
        continue;
      }
      accepted++;
      readAll(result.value);
      const written = serialize(result.value);
      const again = parseMessage(written, "stream");
      if (!again.ok || !isSame(again.value, result.value) || !serialize(again.value).equals(written))
        expect.fail(`round ${round}: ${JSON.stringify(bytes.toString("latin1"))} does not read as it is written`);
    }
    // Enough of both kinds, or the test says little.
    expect(accepted).toBeGreaterThan(ROUNDS / 10);
    expect(accepted).toBeLessThan((ROUNDS * 9) / 10);
  });

  it("in a stream come out the same, however it is cut, and are read or refused, never thrown", () => {
    const random = seeded(8);
    for (let round = 0; round < 1_000; round++) {
      const bytes = Buffer.concat([mutate(seeds[Math.floor(random() * seeds.length)]!, random), seeds[0]!]);
      const whole = new StreamFramer().push(Buffer.from(bytes));
      const framer = new StreamFramer();
      const pieces = [];
      for (let at = 0; at < bytes.length; ) {
        const end = at + 1 + Math.floor(random() * 300);
        pieces.push(...framer.push(Buffer.from(bytes.subarray(at, end))));
        at = end;
      }
      if (told(pieces) !== told(whole))
        expect.fail(`round ${round}: ${JSON.stringify(bytes.toString("latin1"))} is cut otherwise in pieces`);
      for (const frame of whole) {
        if (frame.kind !== "message") continue;
        const result = parseMessage(frame.bytes, "stream");
        // Framer and parser agree where a message ends.
        if (!result.ok && result.error.reason === "Content-Length Does Not Fit")
          expect.fail(
            `round ${round}: ${JSON.stringify(frame.bytes.toString("latin1"))} is not where the message ends`,
          );
      }
    }
  });
});

describe("made-up messages", () => {
  it("read as they were written, whatever octets their values hold", () => {
    const random = seeded(9);
    const text = (length: number) =>
      Array.from({ length }, () => String.fromCharCode(Math.floor(random() * 256))).join("");
    for (let round = 0; round < 500; round++) {
      const message = request("INFO", [
        ["Via", "SIP/2.0/TCP h;branch=z9hG4bK1"],
        ["From", "<sip:a@b>;tag=1"],
        ["To", "<sip:c@d>"],
        ["Call-ID", "x"],
        ["CSeq", "1 INFO"],
        ["X-Octets", text(Math.floor(random() * 60))],
      ]);
      message.body = Buffer.from(text(Math.floor(random() * 200)), "latin1");
      const once = serialize(message);
      const result = parseMessage(once, "stream");
      if (!result.ok) throw new Error(result.error.reason);
      expect(result.value.body.equals(message.body)).toBe(true);
      expect(result.value.headers.fields).toHaveLength(7);
      // Blanks at the ends of a value are nothing; from then on it stays as it is.
      expect(essence(result.value)).toEqual(
        essence((parseMessage(serialize(result.value), "stream") as { value: SipMessage }).value),
      );
    }
  });
});

describe("made-up URIs", () => {
  it("that are read are written so that they read the same", () => {
    const random = seeded(10);
    const pieces = [
      "sip:",
      "sips:",
      "tel:",
      "a",
      "b%41",
      ":",
      "@",
      "h.example",
      "[::1]",
      ":5060",
      ";lr",
      ";x=%20y",
      ";%41=1",
      "?a=b",
      "&c=d",
      "=",
      "%",
      "ü",
    ];
    let accepted = 0;
    for (let round = 0; round < 20_000; round++) {
      let text = random() < 0.9 ? "sip:" : "";
      for (let n = Math.floor(random() * 6); n >= 0; n--) text += pieces[Math.floor(random() * pieces.length)]!;
      const first = parseUri(text);
      if (!first.ok) continue;
      accepted++;
      expect(parseUri(formatUri(first.value))).toEqual(first);
    }
    expect(accepted).toBeGreaterThan(500);
  });
});

describe("long inputs made to be slow", () => {
  it.each([
    ["quotes", '"'.repeat(60_000)],
    ["backslashes", `"${"\\".repeat(60_000)}`],
    ["commas", ",".repeat(60_000)],
    ["brackets", "<".repeat(60_000)],
    ["semicolons", ";a".repeat(30_000)],
    ["spaces", " ".repeat(60_000)],
    ["quoted pairs", '"a",'.repeat(15_000)],
    ["escapes", "%41".repeat(20_000)],
    ["dashes", "--b\n".repeat(15_000)],
  ])("of %s take no more than a moment", (_what, text) => {
    const start = performance.now();
    for (const value of [text, `<sip:${text}`, `SIP/2.0/UDP h;${text}`, `Digest ${text}`, `a/b;${text}`]) {
      splitList(value);
      parseVia(value);
      parseNameAddr(value);
      parseAuthParams(value);
      parseContentType(value);
      parseUri(value);
      withTag(value, "t");
    }
    bodyParts("multipart/mixed;boundary=b", Buffer.from(text));
    parseMessage(Buffer.from(`INVITE sip:a@b SIP/2.0\r\nX: ${text}\r\n\r\n`), "datagram");
    // A few milliseconds; seconds where the work grows with the square.
    expect(performance.now() - start).toBeLessThan(500);
  });
});
