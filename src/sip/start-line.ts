import { numberIn, SLASH, SP } from "./chars.ts";
import { type Headers, type SipMessage, SipRequest, SipResponse } from "./message.ts";
import { methodAt } from "./names.ts";
import { find, numberAt, skipToken, standsAt, Words } from "./octets.ts";

/** What a start line gives: the message that it begins, and what is wrong with the line. */
interface StartLine {
  /** Undefined if the line tells neither a method nor a status. */
  readonly message: SipMessage | undefined;
  readonly wrong: Wrong;
}

interface Wrong {
  /** 0: nothing. */
  readonly status: number;
  readonly reason: string;
}

const GOOD = { status: 0, reason: "" };
const BAD_REQUEST_LINE = { status: 400, reason: "Bad Request-Line" };
const PROTOCOL = new Words([["sip", true]], true);
const VERSION = Buffer.from("SIP/2.0");

/** Reads a Request-Line or Status-Line (RFC 3261 §7.1, §7.2) into a message with those header fields. */
export function readStartLine(text: string, octets: Buffer, start: number, end: number, headers: Headers): StartLine {
  if (isStatusLine(octets, start)) return readStatusLine(text, octets, start, end, headers);
  const space = find(octets, SP, start, end);
  const known = methodAt(octets, start, space);
  if (known === undefined && (space <= start || skipToken(octets, start, space) < space))
    return { message: undefined, wrong: BAD_REQUEST_LINE };
  const method = known ?? text.slice(start, space);
  // RFC 3261 §25.1, Request-Line: one SP at each place and none at the end (RFC 4475 §3.1.2.8, §3.1.2.9).
  let second = find(octets, SP, space + 1, end);
  if (second < 0) second = end;
  const message = new SipRequest(method, text.slice(space + 1, second), headers);
  const version = second + 1;
  const good = end - version === VERSION.length && standsAt(VERSION, octets, version);
  return { message, wrong: good ? GOOD : badVersion(text.slice(version, end)) };
}

function badVersion(version: string): Wrong {
  // RFC 3261 §7.1: the version is case-insensitive.
  if (version.toUpperCase() === "SIP/2.0") return GOOD;
  return isSipVersion(version) ? { status: 505, reason: "Version Not Supported" } : BAD_REQUEST_LINE;
}

function isStatusLine(octets: Buffer, start: number): boolean {
  return octets[start + 3] === SLASH && PROTOCOL.find(octets, start, start + 3) === true;
}

/** Whether the text is a version of SIP, such as `SIP/7.0`, and nothing else. */
function isSipVersion(text: string): boolean {
  const dot = text.indexOf(".");
  return (
    text.slice(0, 4).toUpperCase() === "SIP/" &&
    numberIn(text, 4, dot, 5) >= 0 &&
    numberIn(text, dot + 1, text.length, 5) >= 0
  );
}

/** The reason phrase may be empty (RFC 4475 §3.1.1.13), and the space before it may be missing. */
function readStatusLine(text: string, octets: Buffer, start: number, end: number, headers: Headers): StartLine {
  const codeEnd = start + 11;
  const code = octets[start + 7] === SP ? numberAt(octets, start + 8, Math.min(codeEnd, end), 3) : -1;
  const next = codeEnd < end ? octets[codeEnd] : SP;
  const message = new SipResponse(code, text.slice(Math.min(codeEnd + 1, end), end), headers);
  const good = code >= 100 && code <= 699 && next === SP && text.startsWith("2.0", start + 4);
  return { message, wrong: good ? GOOD : { status: 400, reason: "Bad Status-Line" } };
}
