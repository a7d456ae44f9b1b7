import { Headers, type SipMessage, SipRequest, SipResponse } from "../../src/sip/message.ts";
import { type ParseError, parseMessage } from "../../src/sip/parse.ts";

/** Lines of a message as bytes; each ends with CRLF, and an empty line goes between head and body. */
export function wire(lines: readonly string[], body = ""): Buffer {
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n${body}`, "latin1");
}

export const INVITE_LINES = [
  "INVITE sip:shop@portal.example.com SIP/2.0",
  "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK74bf9",
  "Max-Forwards: 70",
  'From: "Alice" <sip:alice@portal.example.com>;tag=9fxced76sl',
  "To: <sip:shop@portal.example.com>",
  "Call-ID: 3848276298220188511@client.example.com",
  "CSeq: 2 INVITE",
  "Contact: <sip:alice@192.0.2.1:5060>",
];

/** The INVITE with the line of that name replaced; with `undefined`, without it. A name that it lacks is added. */
export function inviteWith(changes: Readonly<Record<string, string | undefined>>, body = ""): Buffer {
  const lines = INVITE_LINES.slice();
  for (const [name, value] of Object.entries(changes)) {
    const at = lines.findIndex((line) => line.startsWith(`${name}:`));
    if (value === undefined) lines.splice(at, 1);
    else lines.splice(at < 0 ? lines.length : at, at < 0 ? 0 : 1, `${name}: ${value}`);
  }
  return wire(lines, body);
}

/** Reads what must be readable. */
export function read(bytes: Buffer, framing: "datagram" | "stream" = "datagram"): SipMessage {
  const result = parseMessage(bytes, framing);
  if (!result.ok) throw new Error(`${result.error.status} ${result.error.reason}`);
  return result.value;
}

export function readRequest(bytes: Buffer): SipRequest {
  const message = read(bytes);
  if (!(message instanceof SipRequest)) throw new Error("is no request");
  return message;
}

export function readResponse(bytes: Buffer): SipResponse {
  const message = read(bytes);
  if (!(message instanceof SipResponse)) throw new Error("is no response");
  return message;
}

/** Reads what must be refused. */
export function refusal(bytes: Buffer, framing: "datagram" | "stream" = "datagram"): ParseError {
  const result = parseMessage(bytes, framing);
  if (result.ok) throw new Error("was read");
  return result.error;
}

export const request = (method: string, fields: readonly (readonly [string, string])[]): SipRequest => {
  const headers = new Headers();
  for (const [name, value] of fields) headers.add(name, value);
  return new SipRequest(method, "sip:bob@example.com", headers);
};

/** What two messages must have in common to be the same; Content-Length follows from the body. */
export function essence(message: SipMessage): unknown {
  const start = message.isRequest ? [message.method, message.uri] : [message.status, message.reason];
  const fields = message.headers.fields.filter(({ key }) => key !== "content-length");
  return {
    start,
    fields: fields.map(({ key, name, value }) => [key, name, value]),
    body: message.body.toString("latin1"),
  };
}

/** Numbers from 0 to below 1 that are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
