import { Params } from "../../sip/params.ts";
import { type SipUri, transportOf } from "../../sip/uri.ts";
import { KINDS } from "../../transport/kinds.ts";
import type { Destination, Flow } from "../../transport/types.ts";

/*
 * RFC 3261 §26.2.2, RFC 5630: whoever asks a sips URI is promised that each hop is secured. A dialog that begins so
 * stays so (RFC 3261 §12.1.1, "secure flag"): our Contact in it is a sips URI, and its requests go by TLS alone.
 */

export const isSips = (uri: string): boolean => /^sips:/i.test(uri);

/** Whether a dialog is secured: known by our Contact in it. */
export const isSecured = ({ contact }: { readonly contact: string }): boolean => contact.startsWith("<sips:");

/** Whether such a dialog's request may go there. */
export const maySecure = ({ transport }: Pick<Destination | Flow, "transport">): boolean => KINDS[transport].secure;

/** Our Contact. `place`: what `contactFor` says. A sips URI names no `tls`, and `ws` for `wss` (RFC 5630 §3.1.3). */
export function contactUri(place: string, secured: boolean, told?: string): string {
  const written = secured ? `sips:${place.replace(";transport=tls", "").replace("=wss", "=ws")}` : `sip:${place}`;
  return told === undefined ? `<${written}>` : `<${written};heard=${told}>`;
}

/** The sips URI by which an app server is reached; undefined: it is reached only by what is not secured. */
export function sipsOf(uri: SipUri): SipUri | undefined {
  if (uri.scheme === "sips") return uri;
  const transport = transportOf(uri);
  if (transport === "http") return { ...uri, scheme: "sips" }; // the SIP part looks at what lies behind it
  if (transport !== "tls" && transport !== "wss") return undefined;
  const others = [...uri.params].filter(([name]) => name !== "transport");
  return {
    ...uri,
    scheme: "sips",
    params: new Params(transport === "wss" ? [...others, ["transport", "ws"]] : others),
  };
}

/** RFC 5630 §4: what a client hears that asks for a sips URI where nobody offers the service by one. */
export const SIPS_NOT_ALLOWED = { status: 480, headers: [["Warning", '380 tollgate "SIPS Not Allowed"']] } as const;
