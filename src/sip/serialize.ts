import { Slab } from "../support/slab.ts";
import type { SipMessage } from "./message.ts";
import { Role } from "./names.ts";
import { oneLine, WIDE } from "./text.ts";

/**
 * The bytes of a message. Content-Length is set here and nowhere else; each field takes one line. No value can begin a
 * new line: line breaks become spaces, and a character that is no octet is written in UTF-8.
 */
export function serialize(message: SipMessage): Buffer {
  const { body } = message;
  const { fields } = message.headers;
  let head = startLine(message);
  let lines = 3;
  for (let i = 0; i < fields.length; i++) {
    const { header, value } = fields[i]!;
    if (header.role === Role.contentLength) continue;
    head = head + header.lead + value;
    lines++;
  }
  head += body.length === 0 ? "\r\nContent-Length: 0\r\n\r\n" : `\r\nContent-Length: ${body.length}\r\n\r\n`;
  const bytes = write(head, body);
  // Counting all line ends at once is cheaper than looking into every value. It is done after the writing, when V8 has
  // the text in one piece.
  const fits = !WIDE.test(head) && count(head, "\n") === lines && count(head, "\r") === lines;
  return fits ? bytes : write(safeHead(message), body);
}

const slab = new Slab();

function write(head: string, body: Buffer): Buffer {
  const bytes = slab.take(head.length + body.length);
  bytes.write(head, 0, "latin1");
  if (body.length > 0) bytes.set(body, head.length);
  return bytes;
}

function startLine(message: SipMessage): string {
  return message.isRequest ? `${message.method} ${message.uri} SIP/2.0` : `SIP/2.0 ${message.status} ${message.reason}`;
}

function count(text: string, what: string): number {
  let found = 0;
  for (let at = text.indexOf(what); at >= 0; at = text.indexOf(what, at + 1)) found++;
  return found;
}

/** The same head, with every part made fit for its line. */
function safeHead(message: SipMessage): string {
  let head = oneLine(startLine(message));
  for (const { header, value } of message.headers.fields) {
    if (header.role !== Role.contentLength) head += header.lead + oneLine(value);
  }
  return `${head}\r\nContent-Length: ${message.body.length}\r\n\r\n`;
}
