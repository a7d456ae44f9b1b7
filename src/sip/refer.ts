import { err, ok, type Result } from "../support/result.ts";
import { isToken } from "./chars.ts";
import { type NameAddr, parseOneNameAddr } from "./headers.ts";
import { headerNamed, Role } from "./names.ts";
import { type Params, parseParams } from "./params.ts";
import { readNumber } from "./text.ts";
import { parseUri, type SipUri, uriHeaders } from "./uri.ts";

/**
 * The header values by which a session is moved: REFER (RFC 3515, RFC 4488), Replaces (RFC 3891), Target-Dialog (RFC
 * 4538), and the subscription that a REFER makes (RFC 6665). Errors are reason phrases, ready for a 400.
 */

/** Where a REFER sends its recipient (RFC 3515 §2.1). */
export interface ReferTo {
  readonly address: NameAddr;
  readonly uri: SipUri;
  /**
   * Header fields for the INVITE (RFC 3261 §19.1.1): each name is a token, long and in lower case, and each value fits
   * on one line. `body` is not among them.
   */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The body that the URI carries. */
  readonly body: string | undefined;
}

/** A dialog, named by its three parts. */
export interface DialogName {
  readonly callId: string;
  /** Tag of the side that receives the header. */
  readonly receiverTag: string;
  /** Tag of the side that sends it. */
  readonly senderTag: string;
}

/** Replaces (RFC 3891 §6.1). */
export interface Replaces extends DialogName {
  readonly earlyOnly: boolean;
}

/** Event (RFC 6665 §8.2.1): the package, lower-case, and the id that tells subscriptions of one package apart. */
export interface EventName {
  readonly name: string;
  readonly id: string | undefined;
}

export function parseReferTo(text: string): Result<ReferTo, string> {
  const address = parseOneNameAddr(text);
  const uri = address.ok ? parseUri(address.value.uri) : address;
  if (!address.ok || !uri.ok) return err("Bad Refer-To");
  if (uri.value.scheme === "other") return err("Refer-To Is Not A SIP URI");
  const all = uriHeaders(uri.value);
  const headers = all.filter(([name]) => name !== "body");
  const bodies = all.filter(([name]) => name === "body");
  // RFC 3261 §19.1.5: a URI whose header fields make no valid request is not to be honoured. No honest client writes
  // one.
  if (bodies.length > 1 || !headers.every(isHeader) || repeats(headers)) return err("Bad Header In Refer-To");
  return ok({ address: address.value, uri: uri.value, headers, body: bodies[0]?.[1] });
}

type UriHeader = readonly [name: string, value: string];

function isHeader([name, value]: UriHeader): boolean {
  return isToken(name) && !CONTROLS.test(value);
}

/** Control characters, which no header line may hold. A tab is allowed. */
const CONTROLS = /[\0-\x08\x0a-\x1f\x7f]/;

/** Whether a field that may come only once comes twice. `headers` is sorted by name. */
function repeats(headers: readonly UriHeader[]): boolean {
  return headers.some(([name], i) => name === headers[i - 1]?.[0] && headerNamed(name).role !== Role.other);
}

/**
 * Refer-Sub (RFC 4488 §4): false if the sender wants no subscription. What cannot be read counts as `true`, the
 * default.
 */
export function wantsSubscription(referSub: string | undefined): boolean {
  return referSub === undefined || !/^\s*false\s*(;|$)/i.test(referSub);
}

export function parseReplaces(text: string): Result<Replaces, string> {
  const read = readDialog(text);
  const to = read?.params.get("to-tag");
  const from = read?.params.get("from-tag");
  // RFC 3891 §3: exactly one of each. They are To and From as the receiver of this INVITE sees them: `to-tag` is its
  // own tag.
  if (!read || !to || !from) return err("Bad Replaces");
  return ok({ callId: read.callId, receiverTag: to, senderTag: from, earlyOnly: read.params.has("early-only") });
}

export function parseTargetDialog(text: string): Result<DialogName, string> {
  const read = readDialog(text);
  const local = read?.params.get("local-tag");
  const remote = read?.params.get("remote-tag");
  // RFC 4538 §7: local and remote as the sender sees them.
  if (!read || !local || !remote) return err("Bad Target-Dialog");
  return ok({ callId: read.callId, receiverTag: remote, senderTag: local });
}

export const formatReplaces = ({ callId, receiverTag, senderTag }: DialogName): string =>
  `${callId};to-tag=${receiverTag};from-tag=${senderTag}`;

export const formatTargetDialog = ({ callId, receiverTag, senderTag }: DialogName): string =>
  `${callId};local-tag=${senderTag};remote-tag=${receiverTag}`;

export function parseEvent(text: string): Result<EventName, string> {
  const semicolon = text.indexOf(";");
  const name = (semicolon < 0 ? text : text.slice(0, semicolon)).trim().toLowerCase();
  const params = parseParams(semicolon < 0 ? "" : text.slice(semicolon));
  return isToken(name) && params.ok ? ok({ name, id: params.value.get("id") }) : err("Bad Event");
}

/** Seconds of an Expires header (RFC 3261 §20.19), or undefined if there is none, or it is no number. */
export function parseExpires(text: string | undefined): number | undefined {
  return text === undefined ? undefined : readNumber(text.trim(), 0xffff_ffff);
}

function readDialog(text: string): { callId: string; params: Params } | undefined {
  const semicolon = text.indexOf(";");
  if (semicolon < 0) return undefined;
  const callId = text.slice(0, semicolon).trim();
  const params = parseParams(text.slice(semicolon));
  // A comma would begin a second value, and there may be only one (RFC 3891 §3).
  return callId === "" || /[\s,]/.test(callId) || !params.ok ? undefined : { callId, params: params.value };
}
