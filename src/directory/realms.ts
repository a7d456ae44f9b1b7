import { canonicalHost } from "../support/address.ts";

/** A user as a client names one: the user's id, and in which of its two forms the name was written. */
export interface NamedUser {
  readonly id: string;
  /** The name had its domain with it, `alice@portal.example`: another text is hashed then (Kamailio's `ha1b`). */
  readonly withDomain: boolean;
}

/**
 * Whose users sign in with which realm. One realm is for the users of all domains. A domain may have users of its own
 * beside them, as in the `subscriber` table of Kamailio and OpenSIPS: its realm is the domain, and the id of a user is
 * `alice@second.example`, who is another person than `alice`.
 */
export class Realms {
  readonly main: string;
  private readonly own: ReadonlySet<string>;
  private readonly isPortal: ((host: string) => boolean) | undefined;

  /** `isPortal`: whether a host is one of the portal's; missing: any may be. */
  constructor(main: string, own: readonly string[] = [], isPortal?: (host: string) => boolean) {
    this.main = main;
    this.own = new Set(own.map(canonicalHost));
    this.isPortal = isPortal;
  }

  has(realm: string): boolean {
    return realm === this.main || this.own.has(realm);
  }

  /** The realm for users of that domain; undefined: of any. */
  of(domain: string | undefined): string {
    if (domain === undefined || this.own.size === 0) return this.main;
    const host = canonicalHost(domain);
    return this.own.has(host) ? host : this.main;
  }

  /** The user of that name in that realm. */
  named(name: string, realm: string): NamedUser {
    const at = name.lastIndexOf("@");
    const domain = at > 0 ? canonicalHost(name.slice(at + 1)) : "";
    const isMain = realm === this.main && !this.own.has(realm);
    const withDomain = domain !== "" && (isMain ? this.isMainDomain(domain) : domain === realm);
    const plain = withDomain ? name.slice(0, at) : name;
    return { id: isMain ? plain : idIn(plain, realm), withDomain };
  }

  private isMainDomain(domain: string): boolean {
    return !this.own.has(domain) && (domain === this.main || (this.isPortal?.(domain) ?? false));
  }
}

/** The id of a user of a domain that has users of its own. */
export const idIn = (name: string, domain: string): string => `${name}@${domain}`;

/** The name and the domain in a user's id; no domain: the user is one of those of all domains. */
export function partsOf(id: string): { readonly name: string; readonly domain?: string } {
  const at = id.lastIndexOf("@");
  return at < 0 ? { name: id } : { name: id.slice(0, at), domain: id.slice(at + 1) };
}
