import { ha1 } from "../sip/digest.ts";
import type { Store } from "../store/types.ts";
import { partsOf } from "./realms.ts";
import type { Ha1, User } from "./types.ts";

export interface NewUser {
  /** `alice` for sip:alice@portal.example, or `alice@second.example` in a domain that has users of its own. */
  readonly id: string;
  /** The user's realm; a change of the realm makes every HA1 invalid. */
  readonly realm: string;
  readonly password: string;
  /** Whether to keep the MD5 value as well, for clients that know no SHA-256 (RFC 8760 §2.1). */
  readonly md5: boolean;
  /** Pays in advance, from a balance in this currency. */
  readonly prepaid?: { readonly currency: string };
  /** `User.account`, for a new user whose id somebody had before. */
  readonly account?: string;
}

/** What is kept of a user (RFC 7616 §3.4.2): hashes, never the password. */
export function userRecord({ id, realm, password, md5 }: NewUser): User {
  const { name, domain } = partsOf(id);
  const values = (user: string): Ha1 => {
    const sha256 = ha1("sha-256", user, realm, password);
    return md5 ? { sha256, md5: ha1("md5", user, realm, password) } : { sha256 };
  };
  return { id, realm, ha1: values(name), ...(domain !== undefined && { ha1WithDomain: values(id) }) };
}

/** Registers a user (M2), or gives one that is registered a new password. */
export async function registerUser(store: Pick<Store, "users">, user: NewUser): Promise<User> {
  const hashes = userRecord(user);
  for (;;) {
    const { account, prepaid } = user;
    const fresh = withStanding(hashes, undefined, { prepaid, account });
    if (await store.users.add(fresh)) return fresh;
    const given = prepaid ? { prepaid } : {};
    const changed = await store.users.change(user.id, (known) => withStanding(hashes, known, given));
    if (changed) return changed; // else it was removed just now
  }
}

/** A user with new hashes: everything else stays as it is, unless something else is given. */
export function withStanding(
  hashes: Pick<User, "id" | "realm" | "ha1" | "ha1WithDomain">,
  known: User | undefined,
  { prepaid = known?.prepaid, account = known?.account }: { prepaid?: User["prepaid"]; account?: string | undefined },
): User {
  const { name, numbers, blocked, limits, postpaid } = known ?? {};
  return {
    ...hashes,
    ...(name !== undefined && { name }),
    ...(numbers && { numbers }),
    ...(blocked && { blocked }),
    ...(limits && { limits }),
    ...(prepaid ? { prepaid } : postpaid && { postpaid }),
    ...(account !== undefined && account !== hashes.id && { account }),
  };
}
