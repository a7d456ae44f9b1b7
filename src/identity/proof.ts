import type { KeyObject } from "node:crypto";
import type { SipRequest } from "../sip/message.ts";
import { identityHeader, type Passport, passportName } from "../sip/passport.ts";
import { sipUriOf } from "../sip/uri.ts";
import type { Clock } from "../support/clock.ts";
import type { Random } from "../support/random.ts";

export interface ProofOptions {
  /** The key that holds now: the private key, EC on P-256, and where the relay publishes its certificate. */
  readonly signer: () => { readonly key: KeyObject; readonly x5u: string };
  readonly clock: Clock;
  readonly random: Random;
}

/** Signs an INVITE to an app server: it came through this relay, from this user (M10). Sets Date and Identity. */
export type Proof = (request: SipRequest, user: string) => void;

/**
 * The authentication service of RFC 8224 §4.1. `dest` holds To and Request-URI. So the token is of no use at another
 * app server, even with the same To. The originator is the user whom the relay has authenticated, not what From says.
 */
export function createProof({ signer, clock, random }: ProofOptions): Proof {
  return (request, user) => {
    const iat = Math.floor(clock.wall() / 1000);
    const asserted = sipUriOf(user);
    const orig = (asserted && passportName(asserted)) ?? { uri: user };
    const dest = destinationOf(request);
    request.headers.set("Date", new Date(iat * 1000).toUTCString()); // RFC 8224 §4.1, step 3
    request.headers.add("Identity", identityHeader({ orig, dest, iat, jti: random.token(96) }, signer()));
  };
}

/** Whom a request is for: To and Request-URI, each once. */
export function destinationOf(request: SipRequest): Passport["dest"] {
  const names = [request.to?.uri, request.uri].map((text) => {
    const uri = text === undefined ? undefined : sipUriOf(text);
    return uri && passportName(uri);
  });
  const uri = [...new Set(names.flatMap((name) => (name && "uri" in name ? name.uri : [])))];
  const tn = [...new Set(names.flatMap((name) => (name && "tn" in name ? name.tn : [])))];
  return { ...(uri.length > 0 && { uri }), ...(tn.length > 0 && { tn }) };
}
