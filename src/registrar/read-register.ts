import { parseOneNameAddr, splitList } from "../sip/headers.ts";
import type { Headers } from "../sip/message.ts";
import { type SipUri, sipUriOf } from "../sip/uri.ts";
import { err, ok, type Result } from "../support/result.ts";
import { contactParams, keyOf } from "./binding.ts";

/** One Contact of a REGISTER. */
export interface WantedContact {
  /** As written. */
  readonly written: string;
  readonly uri: SipUri;
  readonly key: string;
  readonly params: string;
  readonly q: number;
  readonly instance: string | undefined;
  readonly regId: number | undefined;
  /** Seconds; 0: the binding goes away. */
  readonly expiresS: number;
}

/** What a REGISTER asks for; `everything`: that no binding stays (`Contact: *`). */
export interface Wanted {
  readonly everything: boolean;
  readonly contacts: readonly WantedContact[];
}

export interface RegistrarSettings {
  /** For a REGISTER that says no time. */
  readonly expiresS: number;
  /** Shorter times are refused (423), longer ones are shortened (RFC 3261 §10.3, step 7). */
  readonly minExpiresS: number;
  readonly maxExpiresS: number;
}

export interface RegisterRefusal {
  readonly status: number;
  readonly reason?: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
}

/** A Contact with a push service's addresses may have some hundred characters (RFC 8599). */
const MAX_CONTACT = 2_048;
const MAX_INSTANCE = 200;
/** Written by the registrar, or said anew by each REGISTER. */
const OWN_PARAMS: ReadonlySet<string> = new Set(["expires", "pub-gruu", "temp-gruu", "temp-gruu-cookie"]);

/** Reads the Contacts of a REGISTER (RFC 3261 §10.3, steps 6 and 7). `most`: how many it may have. */
export function readRegister(
  headers: Headers,
  settings: RegistrarSettings,
  most: number,
): Result<Wanted, RegisterRefusal> {
  const texts = headers.all("contact").flatMap(splitList);
  const general = headers.get("expires");
  if (texts.includes("*")) {
    // RFC 3261 §10.3, step 6
    if (texts.length > 1 || general?.trim() !== "0") return bad("Contact * Needs Expires 0");
    return ok({ everything: true, contacts: [] });
  }
  if (texts.length > most) return bad("Too Many Contacts");
  const contacts = new Map<string, WantedContact>();
  for (const text of texts) {
    const read = readContact(text, general, settings);
    if (!read.ok) return read;
    const { expiresS, key } = read.value;
    if (expiresS > 0 && expiresS < settings.minExpiresS)
      return err({ status: 423, headers: [["Min-Expires", String(settings.minExpiresS)]] });
    contacts.set(key, read.value);
  }
  return ok({ everything: false, contacts: [...contacts.values()] });
}

function readContact(
  text: string,
  general: string | undefined,
  settings: RegistrarSettings,
): Result<WantedContact, RegisterRefusal> {
  if (text.length > MAX_CONTACT) return bad("Contact Is Too Long");
  const address = parseOneNameAddr(text);
  const uri = address.ok ? sipUriOf(address.value.uri) : undefined;
  // RFC 3261 §19.1.1, table 1: a Contact in REGISTER may have header fields in its URI. Nothing could be done with
  // them.
  if (!address.ok || !uri || uri.headers !== undefined) return bad("Contact Is Not A SIP URI");
  const { params } = address.value;
  const instance = readInstance(params.get("+sip.instance"));
  const regId = readRegId(params.get("reg-id"));
  // RFC 5626 §6: a flow is one of a device.
  if (regId === null || (regId !== undefined && instance === undefined)) return bad("Bad reg-id");
  const asked = secondsIn(params.get("expires")) ?? secondsIn(general) ?? settings.expiresS;
  const written = address.value.uri;
  return ok({
    written,
    uri,
    key: keyOf({ instance, regId }, uri),
    params: contactParams([...params].filter(([name]) => !OWN_PARAMS.has(name))),
    q: readQ(params.get("q")),
    instance,
    regId,
    expiresS: Math.min(asked, settings.maxExpiresS),
  });
}

/** RFC 3261 §20.19: a value that cannot be read counts as none. */
function secondsIn(text: string | undefined): number | undefined {
  const digits = text?.trim();
  return digits !== undefined && /^\d{1,12}$/.test(digits) ? Number(digits) : undefined;
}

/**
 * RFC 5626 §4.1: a URN in angle brackets, which some leave out. What has other characters could not be echoed as it is.
 */
function readInstance(value: string | undefined): string | undefined {
  const bare = value?.replace(/^<([^<>]*)>$/, "$1");
  return bare !== undefined && bare.length <= MAX_INSTANCE && /^[!-;=?-~]+$/.test(bare) ? bare : undefined;
}

/** RFC 5626 §11.2: from 1 to 2**31 - 1. Null: it is none. */
function readRegId(value: string | undefined): number | undefined | null {
  if (value === undefined) return undefined;
  const number = /^\d{1,10}$/.test(value) ? Number(value) : 0;
  return number >= 1 && number <= 2_147_483_647 ? number : null;
}

function readQ(value: string | undefined): number {
  return value !== undefined && /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(value) ? Number(value) : 1;
}

const bad = (reason: string) => err<RegisterRefusal>({ status: 400, reason });
