import { createHash, type KeyObject } from "node:crypto";
import type { SipRequest } from "../sip/message.ts";
import { type Attestation, passportName, shakenHeader } from "../sip/passport.ts";
import { parseUri, sipUriOf, unescapeUser } from "../sip/uri.ts";
import type { Clock } from "../support/clock.ts";
import { type IdentitySettings, readFitting, readKey } from "./key.ts";
import { destinationOf } from "./proof.ts";
import { type TnAuthList, tnAuthListOf } from "./tn-auth-list.ts";

/** The operator's certificate for telephone numbers (RFC 8226), and what is said with it. */
export interface ShakenSettings {
  readonly certificate: string;
  readonly key: string;
  /** Where verifiers get the certificate; default: the relay publishes it below `identity.url`. */
  readonly url?: string;
  /** A UUID that stands for this portal (RFC 8588 §5); default: made of `identity.url`. */
  readonly origid?: string;
  /** The app servers whose INVITEs are signed so; default: all. */
  readonly appServers?: readonly string[];
}

export interface ShakenKey {
  readonly key: KeyObject;
  readonly x5u: string;
  readonly origid: string;
  /** The certificate with its chain; PEM. */
  readonly pem: string;
  /** When the certificate expires, milliseconds since 1970. */
  readonly validTo: number;
  /** Undefined: it does not say for which numbers it is. */
  readonly tnAuthList: TnAuthList | undefined;
}

export const SHAKEN_PATH = "/identity/shaken.pem";

/** Reads key and certificate. Throws if they do not fit or cannot be used; the message says which and why. */
export function loadShakenKey(shaken: ShakenSettings, { url }: Pick<IdentitySettings, "url">, now: number): ShakenKey {
  const key = readKey(shaken.key);
  const { certificate, pem } = readFitting(shaken.certificate, key, shaken.key, now);
  const issuer = url.replace(/\/$/, "");
  return {
    key,
    x5u: shaken.url ?? issuer + SHAKEN_PATH,
    origid: shaken.origid?.toLowerCase() ?? uuidOf(issuer),
    pem,
    validTo: Date.parse(certificate.validTo),
    tnAuthList: tnAuthListOf(certificate),
  };
}

/** The UUID of a URL (RFC 9562 §5.5): the same at every node and after every restart. */
function uuidOf(url: string): string {
  const space = Buffer.from("6ba7b8119dad11d180b400c04fd430c8", "hex"); // RFC 9562 §6.6: URLs
  const hash = createHash("sha1").update(space).update(url).digest().subarray(0, 16);
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  return hash.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** Who calls, as the relay knows it. */
export interface Caller {
  /** The URI of the user who has signed in. */
  readonly uri: string;
  /** The numbers that the operator has registered for the user: digits with the country's code, `+` or not. */
  readonly numbers: readonly string[];
  /** The number that the user asks to be shown with (RFC 3325 §9.2), or undefined. */
  readonly preferred?: string | undefined;
  /** The password came in the clear, so that whoever listened can have sent it. */
  readonly exposed: boolean;
  readonly appServer: string;
}

/**
 * Signs an INVITE to an app server: adds an Identity header, and to P-Asserted-Identity the number that it is about.
 */
export type Attest = (request: SipRequest, caller: Caller) => void;

export interface ShakenOptions {
  /** The key that holds now. */
  readonly key: () => ShakenKey;
  readonly appServers: readonly string[] | undefined;
  readonly clock: Clock;
}

/**
 * The authentication service of RFC 8224 §4.1 with RFC 8588: what the operator answers for towards others. A number of
 * the user's gets `A`, a user without one or with another's number `B`, and one whose password anybody may have read
 * `C`. A number that is not the user's is never in the token: `orig` is then the user's URI.
 */
export function createShaken({ key, appServers, clock }: ShakenOptions): Attest {
  const only = appServers && new Set(appServers);
  return (request, caller) => {
    if (only && !only.has(caller.appServer)) return;
    const iat = Math.floor(clock.wall() / 1000);
    const number = numberOf(caller);
    const asserted = sipUriOf(caller.uri);
    const orig = number === undefined ? ((asserted && passportName(asserted)) ?? { uri: caller.uri }) : { tn: number };
    const attest: Attestation["attest"] = caller.exposed ? "C" : number === undefined ? "B" : "A";
    const { x5u, origid, key: secret } = key();
    if (number !== undefined) request.headers.add("P-Asserted-Identity", `<tel:+${number}>`); // RFC 3325 §9.1: one more
    if (!request.headers.has("date")) request.headers.set("Date", new Date(iat * 1000).toUTCString());
    const value = shakenHeader({ orig, dest: destinationOf(request), iat, attest, origid }, { key: secret, x5u });
    request.headers.add("Identity", value);
  };
}

/** The number that the user calls from: the one asked for, if it is the user's; else the first; else none. */
function numberOf({ uri, numbers, preferred }: Caller): string | undefined {
  const own = numbers.map(digitsOf);
  const name = sipUriOf(uri);
  const user = name && unescapeUser(name);
  if (user !== undefined && /^\+[1-9][0-9]{1,14}$/.test(user)) own.unshift(user.slice(1)); // the user's id is a number
  if (preferred === undefined) return own[0];
  const wanted = numberIn(preferred);
  return wanted !== undefined && own.includes(wanted) ? wanted : undefined;
}

const digitsOf = (number: string): string => number.replace(/^\+/, "");

/** A number in a URI, as a token has it: `tel:+49...`, `sip:+49...@any;user=phone`, `sip:+49...@any`. */
function numberIn(text: string): string | undefined {
  const uri = parseUri(text);
  const name = uri.ok ? passportName(uri.value) : undefined;
  if (name && "tn" in name) return name.tn;
  const sip = sipUriOf(text);
  const user = sip && unescapeUser(sip);
  return user !== undefined && /^\+[0-9]{2,15}$/.test(user) ? user.slice(1) : undefined;
}
