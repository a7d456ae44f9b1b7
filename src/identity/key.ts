import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "../support/clock.ts";

/** The relay's key for RFC 8224 and for requests by HTTP, and its public part, which app servers may see. */
export interface IdentityKey {
  readonly key: KeyObject;
  /** The key's name in the JWK Set: its thumbprint (RFC 7638). */
  readonly kid: string;
  /** `url` of the settings, without a slash at its end. */
  readonly issuer: string;
  /** Where the certificate is published: `info` of the Identity header. */
  readonly x5u: string;
  /** The certificate, or the bare public key if there is no certificate; PEM. */
  readonly pem: string;
  /** The public key as a JWK Set (RFC 7517 §5). */
  readonly jwks: { readonly keys: readonly object[] };
}

export interface IdentitySettings {
  /** Where app servers reach the relay's HTTP. */
  readonly url: string;
  readonly key?: string;
  readonly certificate?: string;
}

/** Where the relay publishes, below the settings' `url`. */
export const CERTIFICATE_PATH = "/identity/certificate.pem";
export const JWKS_PATH = "/.well-known/jwks.json";

/**
 * Reads the signing key of the settings, or the one of the data folder, which is made at the first start. Throws if it
 * is no key for ES256, or if the certificate is for another key or has expired; the message says what to do.
 */
export function loadIdentityKey(
  settings: IdentitySettings,
  dataFolder: string,
  clock: Pick<Clock, "wall"> = systemClock,
): IdentityKey {
  const file = settings.key ?? join(dataFolder, "identity-key.pem");
  if (settings.key === undefined && !existsSync(file)) makeKey(file);
  const key = readKey(file);
  const publicKey = createPublicKey(key);
  const pem =
    settings.certificate === undefined
      ? publicKey.export({ type: "spki", format: "pem" }).toString()
      : readFitting(settings.certificate, key, file, clock.wall()).pem;
  const jwk = publicKey.export({ format: "jwk" });
  const kid = thumbprint(jwk);
  const issuer = settings.url.replace(/\/$/, "");
  const jwks = { keys: [{ ...jwk, alg: "ES256", use: "sig", kid }] };
  return { key, kid, issuer, x5u: issuer + CERTIFICATE_PATH, pem, jwks };
}

/** RFC 7638 §3: the members that an EC key must have, in lexicographic order. */
function thumbprint({ crv, kty, x, y }: ReturnType<KeyObject["export"]> & Record<string, unknown>): string {
  return createHash("sha256").update(JSON.stringify({ crv, kty, x, y })).digest("base64url");
}

function makeKey(file: string): void {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600, flag: "wx" });
}

function readPem(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`${file}: the certificate cannot be read (${(error as Error).message})`);
  }
}

/** A certificate for that key of `keyFile` that has not expired, and the whole file. Throws with the reason. */
export function readFitting(
  file: string,
  key: KeyObject,
  keyFile: string,
  now: number,
): { readonly certificate: X509Certificate; readonly pem: string } {
  const pem = readPem(file);
  const certificate = readCertificate(pem, file);
  if (!certificate.checkPrivateKey(key)) throw new Error(`${file}: this certificate is not for the key in ${keyFile}`);
  if (Date.parse(certificate.validTo) < now) throw new Error(`${file}: expired on ${certificate.validTo}`);
  return { certificate, pem };
}

/** A key for ES256. Throws with the reason. */
export function readKey(file: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey(readFileSync(file));
  } catch (error) {
    throw new Error(`${file}: no private key in PEM could be read from it (${(error as Error).message})`);
  }
  if (key.asymmetricKeyType !== "ec" || key.asymmetricKeyDetails?.namedCurve !== "prime256v1")
    throw new Error(
      `${file}: a key on the curve P-256 is needed; make one with "openssl ecparam -name prime256v1 -genkey"`,
    );
  return key;
}

function readCertificate(pem: string, file: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new Error(`${file}: no certificate in PEM could be read from it`);
  }
}
