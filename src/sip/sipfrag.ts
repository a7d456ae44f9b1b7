import type { HeaderField, SipResponse } from "./message.ts";
import { oneLine } from "./text.ts";

/** Fragments of SIP messages as bodies (RFC 3420): how NOTIFY tells what became of a REFER (RFC 3515 §2.4.4). */

export const SIPFRAG = "message/sipfrag;version=2.0";

/** The response as a fragment: its status line, the header fields that `takes` lets through, and its body with them. */
export function sipfrag(
  response: Pick<SipResponse, "status" | "reason" | "headers" | "body">,
  takes: (field: HeaderField) => boolean,
): Buffer {
  let head = `SIP/2.0 ${response.status} ${oneLine(response.reason)}\r\n`;
  for (const field of response.headers.fields) if (takes(field)) head += `${field.name}: ${oneLine(field.value)}\r\n`;
  if (response.body.length === 0) return Buffer.from(head, "latin1");
  // RFC 3420 §2: a body comes behind an empty line; Content-Length may be there.
  head += `Content-Length: ${response.body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), response.body]);
}
