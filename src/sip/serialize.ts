import type { SipMessage } from "./message.ts";
import { encodeUtf8 } from "./text.ts";

/**
 * The bytes of a message. Content-Length is set here and nowhere else; each field takes one line. Nothing in a value makes a new line:
 * line breaks become spaces, and a character that is no octet is written in UTF-8.
 */
export function serialize(message: SipMessage): Buffer {
  const { body } = message;
  const { fields } = message.headers;
  let head = startLine(message);
  let lines = 3;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]!;
    if (field.key === "content-length") continue;
    head += `${field.name}: ${field.value}\r\n`;
    lines++;
  }
  head += `Content-Length: ${body.length}\r\n\r\n`;
  // Counting the line ends of the whole is cheaper than to look into every value, and sees what stands in names, too.
  if (WIDE.test(head) || count(head, "\n") !== lines || count(head, "\r") !== lines) head = safeHead(message);
  if (body.length === 0) return Buffer.from(head, "latin1");
  const bytes = Buffer.allocUnsafe(head.length + body.length);
  bytes.write(head, 0, "latin1");
  bytes.set(body, head.length);
  return bytes;
}

/** A character that is no octet. V8 knows without looking that a text of octets has none. */
const WIDE = /[^\x00-\xff]/;

function startLine(message: SipMessage): string {
  return message.isRequest
    ? `${message.method} ${message.uri} SIP/2.0\r\n`
    : `SIP/2.0 ${message.status} ${message.reason}\r\n`;
}

function count(text: string, what: string): number {
  let found = 0;
  for (let at = text.indexOf(what); at >= 0; at = text.indexOf(what, at + 1)) found++;
  return found;
}

/** The same head, with every part made fit for its line. */
function safeHead(message: SipMessage): string {
  let head = `${oneLine(startLine(message).slice(0, -2))}\r\n`;
  for (const field of message.headers.fields) {
    if (field.key !== "content-length") head += `${oneLine(field.name)}: ${oneLine(field.value)}\r\n`;
  }
  return `${head}Content-Length: ${message.body.length}\r\n\r\n`;
}

function oneLine(text: string): string {
  const octets = WIDE.test(text) ? encodeUtf8(text) : text;
  return octets.includes("\n") || octets.includes("\r") ? octets.replace(/[\r\n]+/g, " ") : octets;
}
