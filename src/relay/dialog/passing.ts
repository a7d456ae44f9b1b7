import { PACKAGE } from "../../charging/charges/body.ts";
import { parseAuthParams, parseNameAddr, splitList } from "../../sip/headers.ts";
import type { Headers, SipMessage } from "../../sip/message.ts";

/*
 * What goes from one leg's message to the other's. Bodies, and header fields that concern only the two ends, cross as
 * they are written (decision 1). border.ts says which header fields these are.
 */

/** Header fields that belong to the body and go with it. */
export const OF_BODY: ReadonlySet<string> = new Set([
  "content-type",
  "content-disposition",
  "content-encoding",
  "content-id",
  "content-language",
  "mime-version",
]);

/** The methods that the relay passes on inside a session, or answers itself (RFC 3261 §20.5). */
export const METHODS = [
  "INVITE",
  "ACK",
  "CANCEL",
  "BYE",
  "OPTIONS",
  "INFO",
  "UPDATE",
  "PRACK",
  "MESSAGE",
  "NOTIFY",
  "REFER",
  "SUBSCRIBE",
] as const;
export const ALLOW = METHODS.join(", ");

/** Option tags of what the relay does itself: RFC 3891, RFC 4538, RFC 4488. */
export const OWN_OPTIONS = ["replaces", "tdialog", "norefersub"] as const;

/** Whether one of the lines of Supported or Require names an option, in lower case. */
export function hasOption(headers: Headers, key: "supported" | "require", option: string): boolean {
  for (const { key: own, value } of headers.fields) {
    if (own !== key || value.length < option.length) continue;
    if (splitList(value).some((tag) => tag.toLowerCase() === option)) return true;
  }
  return false;
}

/** Passes on the client's wish for reliable provisional answers (RFC 3262 §4): the app server fulfils it. */
export function passReliability(from: SipMessage, to: SipMessage): void {
  if (hasOption(from.headers, "supported", "100rel")) to.headers.add("Supported", "100rel");
  if (hasOption(from.headers, "require", "100rel")) to.headers.add("Require", "100rel");
}

/** Removes the body's header fields from a message that has no body, or is to get another one. */
export function withoutBody({ headers }: SipMessage): void {
  headers.fields.splice(0, headers.fields.length, ...headers.fields.filter((f) => !OF_BODY.has(f.key)));
}

/** Passes the client's credentials for realms that are not ours: they are for the app server (RFC 3261 §22.3). */
export function passForeignCredentials(
  from: SipMessage,
  to: SipMessage,
  { realm, ownUsers }: { readonly realm: string; readonly ownUsers: readonly string[] },
): void {
  for (const field of from.headers.fields) {
    if (field.key !== "authorization" && field.key !== "proxy-authorization") continue;
    if (field.value.includes(`realm="${realm}"`)) continue; // nearly always ours: no need to parse it
    const credentials = parseAuthParams(field.value);
    if (!credentials.ok) continue;
    const theirs = credentials.value.params.get("realm");
    if (theirs !== realm && !ownUsers.includes(theirs ?? "")) to.headers.fields.push(field);
  }
}

/** The Info Packages that a peer offers to receive (RFC 6086 §5.2), but never the relay's own. */
export function offeredPackages(headers: Headers): readonly string[] {
  if (!headers.has("recv-info")) return NOTHING;
  return options(headers, "recv-info").filter((name) => name.toLowerCase() !== PACKAGE);
}

/** Recv-Info towards the app server: what the client takes, and the charges that the relay takes. */
export function recvInfoWithCharges(headers: Headers): string {
  return headers.has("recv-info") ? [...offeredPackages(headers), PACKAGE].join(", ") : PACKAGE;
}

/** Takes a password out of From or To (M2): it is for the relay only. Returns the line as it may go on. */
export function withoutPassword(fromLine: string): string {
  // Before the @ there is the scheme's colon. A second one comes before a password.
  const colon = fromLine.indexOf(":", fromLine.indexOf(":") + 1);
  if (colon < 0 || colon > fromLine.lastIndexOf("@")) return fromLine;
  const address = parseNameAddr(fromLine);
  if (!address.ok) return NOBODY; // any part of it could be a password
  const uri = address.value.uri;
  // Up to the last @, since a password may have an @ that is not escaped.
  const hidden = uri.replace(/^(\s*[a-z][a-z0-9+.-]*:[^:@]*):.*@/is, "$1@");
  return hidden === uri ? fromLine : fromLine.replaceAll(uri, () => hidden); // it may stand in the display name too
}

/** Whether a From has a password (M2). */
export const hasPassword = (fromLine: string): boolean => withoutPassword(fromLine) !== fromLine;

/** RFC 3323 §4.1.1.3 */
const NOBODY = "<sip:anonymous@anonymous.invalid>";

const NOTHING: readonly string[] = [];

function options(headers: Headers, key: string): string[] {
  const lines = headers.all(key);
  return lines.length === 0 ? [] : splitList(lines.join(",")).filter((tag) => tag !== "");
}
