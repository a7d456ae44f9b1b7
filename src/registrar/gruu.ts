import { formatUri, type SipUri, sipUriOf, unescape as unescaped } from "../sip/uri.ts";
import type { Binding } from "./binding.ts";

/*
 * Globally routable URIs of one device (RFC 5627): the public one names the user, the temporary one names nobody.
 */

/** What the user part of a temporary GRUU begins with. Then follow 26 letters and digits that nobody can guess. */
const TEMPORARY = "tgruu.";
/** How many characters of a parameter's value need no escape (RFC 3261 §25.1, paramchar). */
const NOT_PARAMCHAR = /[^A-Za-z0-9\-_.!~*'()[\]/:&+$]/g;

/** The public GRUU of a binding's device; the address of record keeps the letters as they are written. */
export const publicGruu = ({ aor, instance = "" }: Pick<Binding, "aor" | "instance">): string =>
  `${aor};gr=${instance.replace(NOT_PARAMCHAR, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`)}`;

/** The newest temporary GRUU of a binding's device; undefined: it has none. */
export function temporaryGruu({ aor, temps }: Pick<Binding, "aor" | "temps">): string | undefined {
  const token = temps.at(-1);
  const uri = token === undefined ? undefined : sipUriOf(aor);
  if (!uri) return undefined;
  return `${formatUri({ ...uri, user: TEMPORARY + token })};gr`;
}

/** Of whom a GRUU is; undefined: the URI is none. `gr` counts whatever else stands there, such as `ob`. */
export function readGruu(uri: SipUri): { readonly token: string } | { readonly instance: string } | undefined {
  const gr = uri.params.get("gr");
  if (gr === undefined) return undefined;
  if (gr !== "") return { instance: unescaped(gr) };
  const user = uri.user ?? "";
  return user.startsWith(TEMPORARY) ? { token: user.slice(TEMPORARY.length) } : undefined;
}

/**
 * A binding as the 200 to a REGISTER lists it (RFC 3261 §10.3, step 8), with its GRUUs where the client knows them (RFC
 * 5627 §3.3).
 */
export function contactOf(binding: Binding, leftS: number, gruus: boolean): string {
  const { contact, params, instance } = binding;
  const temporary = gruus ? temporaryGruu(binding) : undefined;
  const named = gruus && instance !== undefined ? `;pub-gruu="${publicGruu(binding)}"` : "";
  const unnamed = temporary === undefined ? "" : `;temp-gruu="${temporary}"`;
  return `<${contact}>${params};expires=${leftS}${named}${unnamed}`;
}
