import { isToken, numberIn, SLASH, SP } from "./chars.ts";
import { type Headers, type SipMessage, SipRequest, SipResponse } from "./message.ts";
import { knownMethod } from "./names.ts";

/** What a start line gives: the message that it begins, and what is wrong with it (status 0: nothing). */
interface StartLine {
  /** Undefined where the line tells neither a method nor a status. */
  readonly message: SipMessage | undefined;
  readonly status: number;
  readonly reason: string;
}

/** Reads a Request-Line or Status-Line (RFC 3261 §7.1, §7.2) into a message with those header fields. */
export function readStartLine(text: string, start: number, end: number, headers: Headers): StartLine {
  if (isStatusLine(text, start)) return readStatusLine(text, start, end, headers);
  const space = text.indexOf(" ", start);
  const written = space < 0 || space > end ? "" : text.slice(start, space);
  const method = knownMethod(written) ?? (isToken(written) ? written : undefined);
  if (method === undefined) return { message: undefined, status: 400, reason: "Bad Request-Line" };
  // RFC 3261 §25.1, Request-Line: one SP at each place and none at the end (RFC 4475 §3.1.2.8, §3.1.2.9).
  let second = text.indexOf(" ", space + 1);
  if (second < 0 || second > end) second = end;
  const message = new SipRequest(method, text.slice(space + 1, second), headers);
  const version = text.slice(Math.min(second + 1, end), end);
  // RFC 3261 §7.1: the version is case-insensitive.
  if (version === "SIP/2.0" || version.toUpperCase() === "SIP/2.0") return { message, status: 0, reason: "" };
  return isSipVersion(version)
    ? { message, status: 505, reason: "Version Not Supported" }
    : { message, status: 400, reason: "Bad Request-Line" };
}

function isStatusLine(text: string, start: number): boolean {
  return text.charCodeAt(start + 3) === SLASH && text.slice(start, start + 3).toUpperCase() === "SIP";
}

/** `SIP/7.0` and its like: another version, rather than something else. */
function isSipVersion(text: string): boolean {
  const dot = text.indexOf(".");
  return (
    text.slice(0, 4).toUpperCase() === "SIP/" &&
    numberIn(text, 4, dot, 5) >= 0 &&
    numberIn(text, dot + 1, text.length, 5) >= 0
  );
}

/** The reason phrase may be empty (RFC 4475 §3.1.1.13), and the space before it missing. */
function readStatusLine(text: string, start: number, end: number, headers: Headers): StartLine {
  const codeEnd = start + 11;
  const code = text.charCodeAt(start + 7) === SP ? numberIn(text, start + 8, Math.min(codeEnd, end), 3) : -1;
  const next = codeEnd < end ? text.charCodeAt(codeEnd) : SP;
  const message = new SipResponse(code, text.slice(Math.min(codeEnd + 1, end), end), headers);
  const good = code >= 100 && code <= 699 && next === SP && text.startsWith("2.0", start + 4);
  return good ? { message, status: 0, reason: "" } : { message, status: 400, reason: "Bad Status-Line" };
}
