import type { SipMessage } from "./message.ts";

/**
 * The bytes of a message. Content-Length is set here and nowhere else. A line break in a value cannot make a new header field:
 * each becomes a space (RFC 3261 §7.3.1 lets a value run over lines, and the relay unfolds them).
 */
export function serialize(message: SipMessage): Buffer {
  let text = message.isRequest
    ? `${message.method} ${message.uri} SIP/2.0\r\n`
    : `SIP/2.0 ${message.status} ${oneLine(message.reason)}\r\n`;
  const { fields } = message.headers;
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]!;
    if (field.key === "content-length") continue;
    text += `${field.name}: ${oneLine(field.value)}\r\n`;
  }
  const { body } = message;
  text += `Content-Length: ${body.length}\r\n\r\n`;
  if (body.length === 0) return Buffer.from(text, "latin1");
  const bytes = Buffer.allocUnsafe(text.length + body.length);
  bytes.write(text, 0, "latin1");
  body.copy(bytes, text.length);
  return bytes;
}

function oneLine(value: string): string {
  return value.includes("\n") || value.includes("\r") ? value.replace(/[\r\n]+[ \t]*/g, " ") : value;
}
