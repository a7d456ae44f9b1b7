import type { Hono } from "hono";
import { CERTIFICATE_PATH, JWKS_PATH } from "../identity/key.ts";
import { SHAKEN_PATH } from "../identity/shaken.ts";
import type { Published } from "../node/identity.ts";
import type { Env } from "./http.ts";

/**
 * Publishes the public key, with which app servers check the relay's signature (M10, RFC 8224 §7.1): as a certificate
 * and as a key set. A relay that does not sign publishes nothing.
 */
export function addIdentityRoutes(app: Hono<Env>, identity: () => Published | undefined): void {
  app.get(CERTIFICATE_PATH, (c) => {
    const pem = identity()?.pem;
    if (pem === undefined) return c.notFound();
    const type = pem.includes("BEGIN CERTIFICATE") ? "application/pem-certificate-chain" : "application/x-pem-file"; // RFC 8555 §9.1
    return c.body(pem, 200, { "Content-Type": type });
  });
  app.get(SHAKEN_PATH, (c) => {
    const pem = identity()?.shaken;
    if (pem === undefined) return c.notFound();
    return c.body(pem, 200, { "Content-Type": "application/pem-certificate-chain" }); // RFC 8226 §10.1, RFC 8555 §9.1
  });
  app.get(JWKS_PATH, (c) => {
    const jwks = identity()?.jwks;
    if (jwks === undefined) return c.notFound();
    return c.body(JSON.stringify(jwks), 200, { "Content-Type": "application/jwk-set+json" }); // RFC 7517 §8.5.2
  });
}
