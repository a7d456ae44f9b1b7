import { quote } from "../sip/headers.ts";
import { type SipUri, unescapeUser } from "../sip/uri.ts";
import { canonicalHost } from "../support/address.ts";
import type { Destination, Flow } from "../transport/types.ts";

/** Where a user is reached: one Contact that a client has registered (RFC 3261 §10). It never changes. */
export interface Binding {
  /** The id of the user, as `Directory.user` knows it. */
  readonly user: string;
  /** Tells it apart from the user's other bindings, see `keyOf`. */
  readonly key: string;
  /** The address of record as the client wrote it in To, without parameters: `sip:Alice@portal.example`. */
  readonly aor: string;
  /** The Contact's URI as written, with what RFC 8599 puts there for a push service. */
  readonly contact: string;
  /** The Contact's parameters as they are echoed, but for those that the registrar writes: `;q=0.5;reg-id=1`. */
  readonly params: string;
  /** From 0 to 1; the highest is preferred (RFC 3261 §20.10). */
  readonly q: number;
  /** The device (RFC 5626 §4.1): `urn:uuid:...`, without its angle brackets. */
  readonly instance?: string | undefined;
  /** Which of the device's flows (RFC 5626 §4.2). */
  readonly regId?: number | undefined;
  /** Path, as the request had it (RFC 3327): the proxies that lead to the client, the next one first. */
  readonly path: readonly string[];
  readonly callId: string;
  readonly cseq: number;
  readonly userAgent: string;
  /** What temporary GRUUs of it are called, the newest last (RFC 5627 §3.1). */
  readonly temps: readonly string[];
  /** Where the request came from. */
  readonly cameFrom: Destination;
  /** Where to send instead of the Contact: the client is behind a NAT. */
  readonly behind?: Destination | undefined;
  /**
   * By which the client came: its connection, or the way through its NAT. With a connection the binding is gone, too
   * (RFC 5626 §5.3), unless `survives` is set.
   */
  readonly flow?: Flow | undefined;
  /** It is reached without that connection: by UDP, by a new connection to its Contact, or through proxies. */
  readonly survives: boolean;
  /** The other node that has the socket; undefined: this one. */
  readonly home?: string | undefined;
  /** Of an app server (app-servers.ts): what it serves. */
  readonly services?: readonly string[] | undefined;
  /** When it was made or refreshed, and when it ends, by the monotonic clock. */
  readonly since: number;
  readonly until: number;
}

/** A device's flow has its place by RFC 5626 §6, whatever its Contact says; any other binding has its URI's. */
export const keyOf = (
  { instance, regId }: { readonly instance?: string | undefined; readonly regId?: number | undefined },
  uri: SipUri,
): string => (instance !== undefined && regId !== undefined ? `${instance} ${regId}` : uriKey(uri));

/**
 * The same text for URIs that are equal (RFC 3261 §19.1.4). DEVIATION: parameters that stand in one of two URIs only
 * make these differ, whatever they are, since an equality that is not transitive gives no key.
 */
function uriKey(uri: SipUri): string {
  const { scheme, host, port = "" } = uri;
  const params = [...uri.params].map(([name, value]) => `;${name}=${value.toLowerCase()}`).sort();
  return `${scheme}:${unescapeUser(uri) ?? ""}@${canonicalHost(host)}:${port}${params.join("")}`;
}

/** `;name=value` of a Contact. Media feature tags are quoted strings (RFC 3840 §9), and so is whatever is no token. */
export function contactParams(params: Iterable<readonly [name: string, value: string]>): string {
  let text = "";
  for (const [name, value] of params)
    text += value === "" ? `;${name}` : `;${name}=${isBare(name, value) ? value : quote(value)}`;
  return text;
}

const isBare = (name: string, value: string): boolean => !name.startsWith("+") && /^[A-Za-z0-9.!%*_`'~-]+$/.test(value);
