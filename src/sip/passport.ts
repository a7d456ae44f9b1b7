import { type KeyObject, sign } from "node:crypto";
import { err, ok, type Result } from "../support/result.ts";
import { decodeUtf8 } from "./text.ts";
import { escapeUser, telephoneNumber, type Uri, unescapeUser } from "./uri.ts";

/**
 * PASSporT (RFC 8225) and the Identity header (RFC 8224): the token that says who calls whom, signed with ES256. Only
 * the full form is made and read; of the extensions (`ppt`), `shaken` is made (RFC 8588), and none is read.
 */

/** Whom a token is about (RFC 8225 §5.2.1): one telephone number, or URIs. */
export interface Passport {
  readonly orig: { readonly uri: string } | { readonly tn: string };
  readonly dest: { readonly uri?: readonly string[]; readonly tn?: readonly string[] };
  /** Seconds since 1970. */
  readonly iat: number;
  /** Unique for each token (RFC 7519 §4.1.7), so that a replay is noticed. */
  readonly jti: string;
}

/** What `shaken` adds (RFC 8588): how well the caller is known, and where the call began. */
export interface Attestation {
  /** `A`: the caller may use this number. `B`: the caller is known. `C`: neither (RFC 8588 §4). */
  readonly attest: "A" | "B" | "C";
  /** A UUID (RFC 8588 §5). */
  readonly origid: string;
}

/** Credentials for signing: an EC key on P-256, and the URL where its certificate is. */
export interface PassportSigner {
  readonly key: KeyObject;
  readonly x5u: string;
}

/**
 * Whom a URI names, as it stands in a token: a telephone number (RFC 8224 §8.3), else `sip:user@host` without
 * password, port and parameters, all in lower case (§8.5). Undefined for a URI that is neither.
 */
export function passportName(uri: Uri): { readonly uri: string } | { readonly tn: string } | undefined {
  const number = telephoneNumber(uri)?.replace(/[^0-9*#]/g, "");
  if (number) return { tn: number };
  if (uri.scheme === "other") return undefined;
  const user = unescapeUser(uri);
  const kept = user === undefined ? "" : `${escapeUser(decodeUtf8(user))}@`; // RFC 3986 §6.2.2.2: no needless escapes
  return { uri: `${uri.scheme}:${kept}${uri.host}`.toLowerCase() };
}

/**
 * Makes the value of an Identity header (RFC 8224 §4). Members in lexicographic order, no white space (RFC 8225 §9).
 */
export function identityHeader({ orig, dest, iat, jti }: Passport, signer: PassportSigner): string {
  const { key, x5u } = signer;
  return `${token({ alg: "ES256", typ: "passport", x5u }, { dest: inOrder(dest), iat, jti, orig }, key)};info=<${x5u}>;alg=ES256`;
}

/** The same with the extension `shaken` (RFC 8588): its claims stand in it, and its name in token and header. */
export function shakenHeader(
  { orig, dest, iat, attest, origid }: Omit<Passport, "jti"> & Attestation,
  { key, x5u }: PassportSigner,
): string {
  const header = { alg: "ES256", ppt: "shaken", typ: "passport", x5u };
  return `${token(header, { attest, dest: inOrder(dest), iat, orig, origid }, key)};info=<${x5u}>;alg=ES256;ppt=shaken`;
}

const inOrder = ({ tn, uri }: Passport["dest"]) => ({ ...(tn && { tn }), ...(uri && { uri }) });

function token(header: object, claims: object, key: KeyObject): string {
  const signed = `${encode(header)}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(signed, "latin1"), { key, dsaEncoding: "ieee-p1363" }); // RFC 7518 §3.4
  return `${signed}.${signature.toString("base64url")}`;
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value), "utf8").toString("base64url");

export interface IdentityValue {
  /** The signed token, `header.payload.signature`. */
  readonly token: string;
  readonly info: string;
  readonly ppt?: string;
}

/** RFC 8224 §4: `info` is in angle brackets, others are tokens or quoted. */
const PARAMETER = /\s*;\s*([\w-]+)\s*=\s*(<[^<>\s]*>|"[^"\\]*"|[^;\s<>"]+)\s*/y;

/** Reads an Identity header without checking its signature. */
export function parseIdentity(value: string): Result<IdentityValue, string> {
  const end = value.indexOf(";");
  const token = (end < 0 ? value : value.slice(0, end)).trim();
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return err("the token is not in full form (RFC 8225 §7)");
  const params = new Map<string, string>();
  let at = Math.max(end, 0);
  for (PARAMETER.lastIndex = at; end >= 0 && at < value.length; at = PARAMETER.lastIndex) {
    const found = PARAMETER.exec(value);
    if (!found) return err("its parameters cannot be read");
    params.set(found[1]!.toLowerCase(), found[2]!.replace(/^["<]|[">]$/g, ""));
  }
  const info = params.get("info");
  if (info === undefined) return err("info is missing");
  if ((params.get("alg") ?? "ES256") !== "ES256") return err("alg is not ES256");
  const ppt = params.get("ppt");
  return ok(ppt === undefined ? { token, info } : { token, info, ppt });
}

/** Reads the payload of a token whose signature was checked. */
export function readPassport(payload: unknown): Result<Passport, string> {
  if (!isObject(payload)) return err("the payload is no object");
  const { orig, dest, iat, jti } = payload;
  if (typeof iat !== "number" || !Number.isSafeInteger(iat)) return err("iat is missing");
  if (typeof jti !== "string" || jti.length === 0 || jti.length > 200) return err("jti is missing");
  if (!isObject(orig) || (typeof orig.uri !== "string") === (typeof orig.tn !== "string"))
    return err("orig is missing");
  if (!isObject(dest) || !isList(dest.uri) || !isList(dest.tn)) return err("dest is missing");
  return ok(payload as unknown as Passport);
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const isList = (value: unknown): boolean =>
  value === undefined || (Array.isArray(value) && value.every((one) => typeof one === "string"));
