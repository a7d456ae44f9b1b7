import { err, ok, type Result } from "../../support/result.ts";
import type { Charge } from "../events/charge-fields.ts";
import { CHARGE_FIELDS, chargeKey, chargeProblem } from "../events/charge-fields.ts";
import { quote } from "../events/field-checks.ts";
import { NOT_JSON, readChargeJson, readDirectJson } from "./json.ts";
import { readChargeXml, writeChargeXml } from "./xml.ts";

/*
 * An app server's report of what it charges: the body of an INFO (M14), of its 200 to BYE (M16), or of a report after
 * the session (M15, M17). One body holds one charge or several.
 *
 * {"charges": [{"id": "7", "item": "Riesling", "unitPrice": "12.50", "quantity": "2", "currency": "EUR"}]}
 * <charges><charge><id>7</id><item>Riesling</item><unitPrice>12.50</unitPrice><quantity>2</quantity>
 *   <currency>EUR</currency></charge></charges>
 *
 * A single charge may stand alone, without `charges` around it. `quantity` is 1 where it is left out.
 */

export const CHARGE_JSON = "application/vnd.tollgate.charge+json";
export const CHARGE_XML = "application/vnd.tollgate.charge+xml";

/** The Info Package in which charges travel (RFC 6086). */
export const PACKAGE = "tollgate-charge";

/** Bounds of a body, in bytes and in charges: more is refused. */
export const MAX_CHARGE_BODY_BYTES = 65_536;
export const MAX_CHARGES = 100;

type Format = "json" | "xml";

/** True where a Content-Type, with or without parameters, says that the body holds charges. */
export function isChargeType(contentType: string): boolean {
  return formatOf(contentType) !== undefined;
}

/**
 * True where a body, or one of its parts (RFC 2046 §5.1), holds charges. Charges in a multipart body are not taken;
 * `parseChargeBody` says so. But they are charges, and must not be answered as if they were none.
 */
export function bringsCharges(contentType: string | undefined, body: Buffer): boolean {
  if (contentType === undefined) return false;
  if (isChargeType(contentType)) return true;
  const mayBeMultipart = (contentType.charCodeAt(0) | 0x20) === 0x6d; // m for multipart; nearly always another letter
  return mayBeMultipart && MULTIPART.test(contentType) && CHARGES_IN_PART.test(body.toString("latin1"));
}

const MULTIPART = /^multipart\//i;
const CHARGES_IN_PART = /\bcontent-type\s*:\s*application\/vnd\.tollgate\.charge\+(?:json|xml)/i;

function formatOf(contentType: string): Format | undefined {
  const semicolon = contentType.indexOf(";");
  const type = (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
  return type === CHARGE_JSON ? "json" : type === CHARGE_XML ? "xml" : undefined;
}

/**
 * Reads the charges in a body. The error says what is wrong with the first bad charge. Its text suits the reason phrase
 * of a 400: printable ASCII, at most about 200 characters.
 */
export function parseChargeBody(contentType: string, body: Buffer): Result<Charge[], string> {
  const format = formatOf(contentType);
  if (!format) return err(`content type must be ${CHARGE_JSON} or ${CHARGE_XML}, is ${quote(contentType)}`);
  const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(contentType)?.[1];
  if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset))
    return err(`charset must be utf-8, is ${quote(charset)}`);
  if (body.length > MAX_CHARGE_BODY_BYTES)
    return err(`body must be at most ${MAX_CHARGE_BODY_BYTES} bytes, has ${body.length}`);
  const text = decodeUtf8(body);
  if (text === undefined) return err("body must be UTF-8");
  const found = format === "json" ? readChargeJson(text) : readChargeXml(text);
  return found.ok ? checkAll(found.value) : found;
}

/** Why the body of a direct report cannot be taken. `malformed`: it is not JSON at all. */
export interface DirectBodyError {
  readonly malformed: boolean;
  readonly session?: string;
  readonly text: string;
}

const MAX_SESSION = 128;

/**
 * Reads what an app server reports directly (M17): `{"session": "...", "charges": [...]}`, the charges as in the
 * bodies above.
 */
export function parseDirectBody(body: Buffer): Result<{ session: string; charges: Charge[] }, DirectBodyError> {
  const text = decodeUtf8(body);
  if (text === undefined) return err({ malformed: true, text: "body must be UTF-8" });
  const found = readDirectJson(text);
  if (!found.ok) return err({ malformed: found.error === NOT_JSON, text: found.error });
  const { session } = found.value;
  if (typeof session !== "string" || session === "" || session.length > MAX_SESSION)
    return err({ malformed: false, text: `session must be the session's id, is ${quote(session)}` });
  const charges = checkAll(found.value.charges);
  return charges.ok ? ok({ session, charges: charges.value }) : err({ malformed: false, session, text: charges.error });
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function decodeUtf8(body: Buffer): string | undefined {
  try {
    return utf8.decode(body);
  } catch {
    return undefined;
  }
}

function checkAll(found: readonly unknown[]): Result<Charge[], string> {
  if (found.length === 0) return err("body must hold at least one charge");
  if (found.length > MAX_CHARGES) return err(`body must hold at most ${MAX_CHARGES} charges, has ${found.length}`);
  const charges: Charge[] = [];
  const ids = new Set<string>();
  for (const [i, fields] of found.entries()) {
    const charge = readCharge(fields);
    if (!charge.ok) return err(`charge ${i + 1}: ${charge.error}`);
    const key = chargeKey(charge.value.id);
    if (ids.has(key)) return err(`charge ${i + 1}: id ${quote(charge.value.id)} stands in this body twice`);
    ids.add(key);
    charges.push(charge.value);
  }
  return ok(charges);
}

function readCharge(fields: unknown): Result<Charge, string> {
  if (typeof fields !== "object" || fields === null || Array.isArray(fields))
    return err("must be an object with id, item, unitPrice, currency");
  // Unknown fields are refused: a misspelt "quantity" must not count as one that was left out.
  for (const name of Object.keys(fields))
    if (!Object.hasOwn(CHARGE_FIELDS, name)) return err(`there is no field ${quote(name)}`);
  const { id, item, unitPrice, quantity = "1", currency } = fields as Record<string, unknown>;
  const charge = { id: written(id), item, unitPrice: written(unitPrice), quantity: written(quantity), currency };
  const problem = chargeProblem(charge);
  return problem === undefined ? ok(charge as Charge) : err(problem);
}

/** Never a float (decision 10): a JSON number counts only where it is whole and exact. */
const written = (value: unknown): unknown => (Number.isSafeInteger(value) ? String(value) : value);

/** Writes a body that `parseChargeBody` reads, and its Content-Type: for app servers. */
export function formatChargeBody(
  charges: readonly Charge[],
  format: Format = "json",
): { contentType: string; body: string } {
  if (format === "xml") return { contentType: CHARGE_XML, body: writeChargeXml(charges) };
  const list = charges.map(({ id, item, unitPrice, quantity, currency }) => ({
    id,
    item,
    unitPrice,
    quantity,
    currency,
  }));
  return { contentType: CHARGE_JSON, body: JSON.stringify({ charges: list }) };
}
