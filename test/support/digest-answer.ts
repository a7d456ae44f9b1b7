import { type Algorithm, digestResponse, ha1 } from "../../src/sip/digest.ts";

/** What a client writes into Authorization (RFC 7616 §3.4). `challenge`: WWW-Authenticate, or its nonce alone. */
export function digestAnswer(options: {
  readonly challenge: string;
  readonly method: string;
  readonly uri: string;
  readonly user: string;
  readonly realm: string;
  readonly password: string;
  readonly algorithm?: Algorithm;
  /** How often the nonce was used, this time among them. */
  readonly count?: number;
}): string {
  const { challenge, method, uri, user, realm, password, algorithm = "sha-256", count = 1 } = options;
  const nonce = /nonce="([^"]+)"/.exec(challenge)?.[1] ?? challenge;
  const nc = count.toString(16).padStart(8, "0");
  const secret = ha1(algorithm, user, realm, password);
  const response = digestResponse({ algorithm, ha1: secret, method, uri, nonce, qop: "auth", nc, cnonce: "c" });
  return (
    `Digest username="${user}", realm="${realm}", nonce="${nonce}", uri="${uri}", response="${response}", ` +
    `algorithm=${algorithm.toUpperCase()}, qop=auth, nc=${nc}, cnonce="c"`
  );
}
