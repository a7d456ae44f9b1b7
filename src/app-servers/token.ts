import { createHash, type KeyObject, sign } from "node:crypto";
import type { Clock } from "../support/clock.ts";
import type { Random } from "../support/random.ts";

/** What requests to app servers are signed with: the portal's key, and where its public part is published. */
export interface Signer {
  readonly key: KeyObject;
  /** The name of the key in the JWK Set (RFC 7517 §4.5). */
  readonly kid: string;
  /** Where app servers reach the relay's HTTP: the key set is below it. */
  readonly issuer: string;
  readonly clock: Pick<Clock, "wall">;
  readonly random: Random;
}

const VALID_S = 60;

/**
 * A JWT (RFC 7519), signed by ES256, which says that this relay has sent this body to that app server. `aud` is the
 * origin of the app server's URL, and `sha256` the hash of the body in hexadecimal.
 */
export function signedToken({ key, kid, issuer, clock, random }: Signer, url: URL, body: Buffer): string {
  const iat = Math.floor(clock.wall() / 1000);
  const sha256 = createHash("sha256").update(body).digest("hex");
  const claims = { iss: issuer, aud: url.origin, iat, exp: iat + VALID_S, jti: random.token(96), sha256 };
  const signed = `${encode({ alg: "ES256", typ: "JWT", kid })}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(signed, "latin1"), { key, dsaEncoding: "ieee-p1363" }); // RFC 7518 §3.4
  return `${signed}.${signature.toString("base64url")}`;
}

const encode = (value: object): string => Buffer.from(JSON.stringify(value), "utf8").toString("base64url");
