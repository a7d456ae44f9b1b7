import { err, ok, type Result } from "../support/result.ts";
import { NOT_JSON, readChargeJson, readDirectJson } from "./charge-json.ts";
import { readChargeXml, writeChargeXml } from "./charge-xml.ts";
import { isCurrency } from "./currency.ts";
import type { Charge } from "./events.ts";

/*
 * An app server's report of what it charges: the body of an INFO (M14), of its 200 to BYE (M16), or of a report after the
 * session (M15, M17). One body holds one charge or several.
 *
 *   {"charges": [{"id": "7", "item": "Riesling", "unitPrice": "12.50", "quantity": "2", "currency": "EUR"}]}
 *   <charges><charge><id>7</id><item>Riesling</item><unitPrice>12.50</unitPrice><quantity>2</quantity><currency>EUR</currency></charge></charges>
 *
 * A single charge may stand alone, without `charges` around it. `quantity` is 1 where it is left out.
 */

export const CHARGE_JSON = "application/vnd.tollgate.charge+json";
export const CHARGE_XML = "application/vnd.tollgate.charge+xml";

/** The Info Package in which charges travel (RFC 6086). */
export const PACKAGE = "tollgate-charge";

/** The header by which the relay tells an app server what a session is called, and an app server the relay (M15). */
export const SESSION_HEADER = "Tollgate-Session";

/** The header by which the relay tells an app server which service an INVITE asks for, and either end the same of a re-INVITE or UPDATE (M3, M20, M22). */
export const SERVICE_HEADER = "Tollgate-Service";

/** The headers by which the relay tells an app server what a rule has said of the request and of the client (M3): `name=value;name="a value"`. */
export const ATTRIBUTES_HEADER = "Tollgate-Attributes";
export const CLIENT_HEADER = "Tollgate-Client";

/** More than this is refused, in bytes and in charges. */
export const MAX_CHARGE_BODY_BYTES = 65_536;
export const MAX_CHARGES = 100;

const MAX_ID = 128;
const MAX_ITEM = 200;

type Format = "json" | "xml";

/** True where a Content-Type, with or without parameters, says that the body holds charges. */
export function isChargeType(contentType: string): boolean {
  return formatOf(contentType) !== undefined;
}

function formatOf(contentType: string): Format | undefined {
  const semicolon = contentType.indexOf(";");
  const type = (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).trim().toLowerCase();
  return type === CHARGE_JSON ? "json" : type === CHARGE_XML ? "xml" : undefined;
}

/**
 * Reads the charges in a body. All of them are good, or the error says what is wrong with the first that is not, in words for the
 * reason phrase of a 400: printable ASCII, at most about 200 characters.
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

/** Why the body of a direct report cannot be taken. `malformed`: it is no JSON at all. */
export interface DirectBodyError {
  readonly malformed: boolean;
  readonly session?: string;
  readonly text: string;
}

const MAX_SESSION = 128;

/** Reads what an app server reports directly (M17): `{"session": "...", "charges": [...]}`, the charges as in the bodies above. */
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
    if (ids.has(charge.value.id)) return err(`charge ${i + 1}: id ${quote(charge.value.id)} stands in this body twice`);
    ids.add(charge.value.id);
    charges.push(charge.value);
  }
  return ok(charges);
}

const FIELDS = new Set(["id", "item", "unitPrice", "quantity", "currency"]);

function readCharge(fields: unknown): Result<Charge, string> {
  if (typeof fields !== "object" || fields === null || Array.isArray(fields))
    return err("must be an object with id, item, unitPrice, currency");
  // A misspelt "quantity" must not pass for one that was left out.
  for (const name of Object.keys(fields)) if (!FIELDS.has(name)) return err(`there is no field ${quote(name)}`);
  const source = fields as Record<string, unknown>;
  const id = label(source, "id", MAX_ID);
  if (!id.ok) return id;
  const item = label(source, "item", MAX_ITEM);
  if (!item.ok) return item;
  const unitPrice = decimal(
    source,
    "unitPrice",
    /^\d{1,12}(\.\d{1,6})?$/,
    "0 or more, at most 12 digits and 6 decimals",
  );
  if (!unitPrice.ok) return unitPrice;
  const quantity =
    source.quantity === undefined
      ? ok("1")
      : decimal(source, "quantity", /^\d{1,9}(\.\d{1,6})?$/, "above 0, at most 9 digits and 6 decimals");
  if (!quantity.ok) return quantity;
  if (!/[1-9]/.test(quantity.value))
    return err(`quantity must be a decimal number above 0, is ${quote(quantity.value)}`);
  const { currency } = source;
  if (currency === undefined) return err("currency is missing");
  if (typeof currency !== "string" || !isCurrency(currency))
    return err(`currency must be an ISO 4217 code such as EUR, is ${quote(currency)}`);
  return ok({ id: id.value, item: item.value, unitPrice: unitPrice.value, quantity: quantity.value, currency });
}

/** Text that names something: no control characters, which break reports, and no half characters, which are not the same after UTF-8. */
function label(source: Record<string, unknown>, name: string, most: number): Result<string, string> {
  const value = source[name];
  if (value === undefined) return err(`${name} is missing`);
  if (typeof value === "number" && name === "id" && Number.isSafeInteger(value)) return ok(String(value));
  if (typeof value !== "string") return err(`${name} must be text, is ${quote(value)}`);
  if (value.trim() === "") return err(`${name} must not be empty`);
  if (value.length > most) return err(`${name} must have at most ${most} characters, has ${value.length}`);
  if (/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(value)) return err(`${name} must have no control characters`);
  return ok(value);
}

/** Never a float (DESIGN.md, decision 10): a JSON number counts only where it is whole and exact. */
function decimal(
  source: Record<string, unknown>,
  name: string,
  pattern: RegExp,
  expected: string,
): Result<string, string> {
  const value = source[name];
  if (value === undefined) return err(`${name} is missing`);
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    return err(`${name} must be in quotes where it is not a whole number, is ${quote(value)}`);
  }
  const text = typeof value === "number" ? String(value) : value;
  if (typeof text !== "string") return err(`${name} must be a decimal number, is ${quote(value)}`);
  if (/^-\d/.test(text)) return err(`${name} must not be negative, is ${quote(text)}: refunds are not taken`);
  if (!pattern.test(text)) return err(`${name} must be a decimal number ${expected}, is ${quote(text)}`);
  return ok(text);
}

/** What was found, short and in printable ASCII: it goes into a reason phrase and into the log. */
function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return short.replace(/[^\x20-\x7e]/g, "?");
}

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
