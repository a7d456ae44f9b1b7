import { ha1 } from "../sip/digest.ts";
import type { Store } from "../store/types.ts";
import type { User } from "./types.ts";

export interface NewUser {
  /** The user part of the identity, `alice` in sip:alice@portal.example. */
  readonly id: string;
  /** The portal's realm; a change of the realm makes every HA1 invalid. */
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
  const sha256 = ha1("sha-256", id, realm, password);
  return { id, realm, ha1: md5 ? { sha256, md5: ha1("md5", id, realm, password) } : { sha256 } };
}

/** Registers a user (M2), or gives one that is registered a new password. */
export async function registerUser(store: Pick<Store, "users">, user: NewUser): Promise<User> {
  const known = await store.users.get(user.id);
  // A registered user stays disabled, and stays prepaid unless something else is given.
  const { prepaid = known?.prepaid } = user;
  const account = known ? known.account : user.account;
  const record: User = {
    ...userRecord(user),
    ...(known?.disabled !== undefined && { disabled: known.disabled }),
    ...(prepaid && { prepaid }),
    ...(account !== undefined && account !== user.id && { account }),
  };
  await store.users.put(record);
  return record;
}
