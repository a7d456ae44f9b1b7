import { isChargeType, PACKAGE } from "../charging/charge-body.ts";
import { parseAuthParams, parseNameAddr, splitList } from "../sip/headers.ts";
import type { Headers, SipMessage } from "../sip/message.ts";
import { Role } from "../sip/names.ts";

/**
 * Which header fields and bodies cross the relay (DESIGN.md, decision 1): everything that it does not own, as it is written.
 */

/** What belongs to one leg alone: its path, its dialog, its own abilities and secrets. */
export const OWN: ReadonlySet<string> = new Set([
  "via",
  "route",
  "record-route",
  "from",
  "to",
  "call-id",
  "cseq",
  "contact",
  "max-forwards",
  "content-length",
  "supported",
  "require",
  "proxy-require",
  "rseq",
  "rack",
  "allow",
  "recv-info",
  "authorization",
  "proxy-authorization",
  "p-asserted-identity",
  "p-preferred-identity",
  "identity",
  "identity-info",
  "tollgate-session",
  "tollgate-service",
  "tollgate-attributes",
  "tollgate-client",
  "replaces",
  "target-dialog",
  "refer-to",
  "refer-sub",
]);

/** What belongs to the body and stays with it. */
export const OF_BODY: ReadonlySet<string> = new Set([
  "content-type",
  "content-disposition",
  "content-encoding",
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

/** Option tags that mean something between the two ends and nothing to the relay: they may cross it (RFC 3261 §19.2). */
const CROSSING_OPTIONS = new Set(["timer", "histinfo", "from-change", "resource-priority"]);

/** Option tags of what the relay does itself: RFC 3891, RFC 4538, RFC 4488. */
export const OWN_OPTIONS = ["replaces", "tdialog", "norefersub"] as const;

const SERVED_OPTIONS = new Set<string>([...CROSSING_OPTIONS, ...OWN_OPTIONS]);

/**
 * Option tags in Require that can't be had through the relay: for 420's Unsupported (RFC 3261 §8.2.2.3). Reliable provisional answers
 * (RFC 3262) there are for the INVITE that opens a session, `first`, and not for a re-INVITE.
 */
export function unsupportedOptions(headers: Headers, first: boolean): readonly string[] {
  if (!headers.has("require")) return NOTHING;
  return options(headers, "require").filter((tag) => {
    const option = tag.toLowerCase();
    return !SERVED_OPTIONS.has(option) && !(first && option === "100rel");
  });
}

/** Whether one of the lines of Supported or Require names an option, in lower case. */
export function hasOption(headers: Headers, key: "supported" | "require", option: string): boolean {
  for (const { key: own, value } of headers.fields) {
    if (own !== key || value.length < option.length) continue;
    if (splitList(value).some((tag) => tag.toLowerCase() === option)) return true;
  }
  return false;
}

/** The client's wish for reliable provisional answers is for the app server to hear (RFC 3262 §4). */
export function passReliability(from: SipMessage, to: SipMessage): void {
  if (hasOption(from.headers, "supported", "100rel")) to.headers.add("Supported", "100rel");
  if (hasOption(from.headers, "require", "100rel")) to.headers.add("Require", "100rel");
}

/** Copies what crosses from one leg's message to the other's. */
export function passHeaders(from: SipMessage, to: SipMessage): void {
  const source = from.headers.fields;
  const target = to.headers.fields;
  for (let i = 0; i < source.length; i++) {
    const field = source[i]!;
    // Most of a message has a role, and whatever has one but `single` is owned: no need to look it up.
    const { role } = field.header;
    if ((role === Role.other || role === Role.single) && !OWN.has(field.key)) target.push(field);
  }
  for (const key of ["supported", "require"] as const) {
    if (!from.headers.has(key)) continue;
    const crossing = options(from.headers, key).filter((tag) => CROSSING_OPTIONS.has(tag.toLowerCase()));
    if (crossing.length > 0) to.headers.add(key === "supported" ? "Supported" : "Require", crossing.join(", "));
  }
  const allow = from.headers.get("allow");
  if (allow !== undefined) {
    const both = splitList(from.headers.all("allow").join(",")).filter((method) => METHODS.includes(method as never));
    to.headers.add("Allow", both.join(", "));
  }
}

/** Passes headers and body. */
export function pass(from: SipMessage, to: SipMessage): void {
  passHeaders(from, to);
  to.body = from.body;
}

/** Passes all but an app server's charges, which the client never sees. False: there were some. */
export function passWithoutCharges(from: SipMessage, to: SipMessage): boolean {
  const type = from.headers.get("content-type");
  if (type === undefined || !isChargeType(type)) {
    pass(from, to);
    return true;
  }
  passHeaders(from, to);
  withoutBody(to);
  return false;
}

/** Takes a body's header fields out of a message that has none, or is to get another. */
export function withoutBody({ headers }: SipMessage): void {
  headers.fields.splice(0, headers.fields.length, ...headers.fields.filter((f) => !OF_BODY.has(f.key)));
}

/** Passes the client's credentials for realms that are not ours: they are for the app server (RFC 3261 §22.3). */
export function passForeignCredentials(from: SipMessage, to: SipMessage, realm: string): void {
  for (const field of from.headers.fields) {
    if (field.key !== "authorization" && field.key !== "proxy-authorization") continue;
    if (field.value.includes(`realm="${realm}"`)) continue; // nearly always: ours, and nothing to read
    const credentials = parseAuthParams(field.value);
    if (credentials.ok && credentials.value.params.get("realm") !== realm) to.headers.fields.push(field);
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

/** Takes a password out of a From line (M2): it is for the relay only. Returns the line as it may go on. */
export function withoutPassword(fromLine: string): string {
  // Before the @ there is the scheme's colon, and where a password is another.
  const colon = fromLine.indexOf(":", fromLine.indexOf(":") + 1);
  if (colon < 0 || colon > fromLine.lastIndexOf("@")) return fromLine;
  const address = parseNameAddr(fromLine);
  if (!address.ok) return fromLine;
  const uri = address.value.uri;
  const hidden = uri.replace(/^(sips?:[^:@]*):[^@]*@/i, "$1@");
  return hidden === uri ? fromLine : fromLine.replaceAll(uri, () => hidden); // it may stand in the display name too
}

const NOTHING: readonly string[] = [];

function options(headers: Headers, key: string): string[] {
  const lines = headers.all(key);
  return lines.length === 0 ? [] : splitList(lines.join(",")).filter((tag) => tag !== "");
}
