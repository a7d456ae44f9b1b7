import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { ha1 } from "../sip/digest.ts";
import type { Clock } from "../support/clock.ts";
import type { Random } from "../support/random.ts";
import {
  type Authenticator,
  type AuthenticatorOptions,
  type AuthenticatorSettings,
  createAuthenticator,
  type Refusal,
} from "./authenticator.ts";
import type { AppServerKey } from "./types.ts";

/**
 * The realm in which app servers sign in. It differs from the users' realm, so credentials for one are useless in the
 * other.
 */
export const chargesRealm = (portalRealm: string): string => `charges.${portalRealm}`;

const ID_BITS = 64;
const SECRET_BITS = 256;

/** Makes a key for an app server: the record that is kept, and the secret, which is shown once and kept nowhere. */
export function newAppServerKey(options: {
  readonly appServer: string;
  readonly portalRealm: string;
  /** Whether to keep the MD5 value as well, for SIP stacks that know no SHA-256 (RFC 8760 §2.1). */
  readonly md5: boolean;
  /** The services that it allows to register for; default none. */
  readonly serves?: readonly string[];
  readonly now: number;
  readonly random: Random;
}): { readonly key: AppServerKey; readonly secret: string } {
  const { appServer, portalRealm, md5, serves = [], now, random } = options;
  const id = random.token(ID_BITS);
  const secret = random.token(SECRET_BITS);
  const realm = chargesRealm(portalRealm);
  const sha256 = ha1("sha-256", id, realm, secret);
  const values = md5 ? { sha256, md5: ha1("md5", id, realm, secret) } : { sha256 };
  return {
    key: {
      id,
      appServer,
      realm,
      hash: digest(secret).toString("hex"),
      ha1: values,
      createdAt: now,
      ...(serves.length > 0 && { serves }),
    },
    secret,
  };
}

/** What `Authorization: Bearer` carries (RFC 6750): which key, and its secret. */
export const bearerToken = (id: string, secret: string): string => `${id}.${secret}`;

/**
 * Whether the secret belongs to the key. It takes the same time for a right secret, a wrong one, and a key that does
 * not exist.
 */
export function isSecretOf(key: AppServerKey | undefined, secret: string): boolean {
  const expected = key === undefined ? NOBODY : Buffer.from(key.hash, "hex");
  const same = expected.length === NOBODY.length && timingSafeEqual(digest(secret), expected);
  return same && key !== undefined;
}

const digest = (secret: string): Buffer => createHash("sha256").update(secret).digest();
const NOBODY = Buffer.alloc(32);

const NONCE_SLOTS = 8_192;

/** Digest for app servers (M15): the user name is a key's id, the password its secret. */
export function appServerAuthenticator(options: {
  readonly config: {
    readonly authentication: Pick<
      AuthenticatorSettings,
      "algorithms" | "userAgents" | "nonceLifetimeS" | "legacyNoQop"
    >;
    readonly portal: { readonly realm: string };
  };
  readonly directory: { appServerKey(id: string): AppServerKey | undefined };
  readonly clock: Pick<Clock, "monotonic">;
  /** Of this node among others; default: there are none. */
  readonly nonces?: Pick<AuthenticatorOptions, "secret" | "node" | "otherNonces"> | undefined;
  /** Is told of every sign-in that was refused. */
  readonly refused?: (refusal: Refusal) => void;
}): Authenticator {
  const { config, directory, clock, nonces, refused } = options;
  return createAuthenticator({
    // Without `isPortal`, credentials for any host are accepted: SIPp as a server writes no host. This is safe, since
    // an app server answers no challenges of strangers.
    directory: { user: (id) => directory.appServerKey(id) },
    settings: {
      ...config.authentication,
      realm: chargesRealm(config.portal.realm),
      fromPassword: "off",
      fromMustMatch: false,
      throttle: undefined, // nobody guesses 256 random bits, and a wait would hold off the key's owner
    },
    ...(refused && { refused }),
    clock,
    secret: randomBytes(32),
    ...nonces,
    nonceSlots: NONCE_SLOTS,
  });
}
