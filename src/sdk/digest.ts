import { DigestAuthentication, LoggerFactory, type OutgoingRequestMessage } from "sip.js/lib/core/index.js";
import { token } from "./token.ts";

/** Hashes a text in UTF-8, and writes the hash in hexadecimal digits. */
export type Hash = (text: string) => string;

/** The algorithms that a platform has, by their names in RFC 8760 §2.1. */
export type Hashes = Readonly<Record<string, Hash>>;

/** A challenge as SIP.js reads it from WWW-Authenticate or Proxy-Authenticate. */
interface Challenge {
  readonly realm?: string;
  readonly nonce?: string;
  readonly opaque?: string;
  readonly algorithm?: string;
  readonly qop?: readonly string[];
}

/** Digest credentials (RFC 7616, RFC 8760). Needed because SIP.js itself knows only MD5. */
export class DigestCredentials extends DigestAuthentication {
  readonly #user: string;
  readonly #password: string;
  readonly #hashes: Hashes;
  #nonce = "";
  #count = 0;
  #header = "";

  constructor(user: string, password: string, hashes: Hashes) {
    super(new LoggerFactory(), undefined, user, undefined);
    this.#user = user;
    this.#password = password;
    this.#hashes = hashes;
  }

  /** Returns false where it cannot answer the challenge. The 401 or 407 is then the final answer to the request. */
  override authenticate(request: OutgoingRequestMessage, challenge: Challenge): boolean {
    const algorithm = challenge.algorithm?.toUpperCase() ?? "MD5";
    const h = this.#hashes[algorithm];
    const { realm, nonce } = challenge;
    if (h === undefined || realm === undefined || nonce === undefined) return false;
    if (challenge.qop && !challenge.qop.includes("auth")) return false;

    this.#count = nonce === this.#nonce ? this.#count + 1 : 1; // RFC 7616 §3.4: nc counts the uses of one nonce
    this.#nonce = nonce;
    const nc = this.#count.toString(16).padStart(8, "0");
    const cnonce = token(128);
    const uri = request.ruri.toRaw();
    const ha1 = h(`${this.#user}:${realm}:${this.#password}`);
    const ha2 = h(`${request.method}:${uri}`);
    const response = challenge.qop ? h(`${ha1}:${nonce}:${nc}:${cnonce}:auth:${ha2}`) : h(`${ha1}:${nonce}:${ha2}`);

    const params = [
      `username=${quoted(this.#user)}`,
      `realm=${quoted(realm)}`,
      `nonce=${quoted(nonce)}`,
      `uri=${quoted(uri)}`,
      `response="${response}"`,
    ];
    if (challenge.algorithm !== undefined) params.push(`algorithm=${algorithm}`);
    if (challenge.opaque !== undefined) params.push(`opaque=${quoted(challenge.opaque)}`);
    if (challenge.qop) params.push("qop=auth", `nc=${nc}`, `cnonce="${cnonce}"`);
    this.#header = `Digest ${params.join(", ")}`;
    return true;
  }

  override toString(): string {
    return this.#header;
  }
}

const quoted = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`;

const CHALLENGE_LINE = /\r\n(?:www|proxy)-authenticate[ \t]*:((?:[^\r\n]|\r\n[ \t])*)/gi;
const ALGORITHM = /\balgorithm\s*=\s*"?([A-Za-z0-9-]+)/i;

/**
 * Leaves in a 401 or 407 only the challenge that is to be answered. RFC 8760 §2.4 asks for the topmost one that the
 * client supports, but SIP.js sees only the last one. Any other message is returned unchanged.
 */
export function selectChallenge(message: string, hashes: Hashes): string {
  if (!message.startsWith("SIP/2.0 401") && !message.startsWith("SIP/2.0 407")) return message;
  const head = message.slice(0, message.indexOf("\r\n\r\n") + 2);
  let chosen = false;
  const kept = head.replace(CHALLENGE_LINE, (line, value: string) => {
    const algorithm = ALGORITHM.exec(value)?.[1]?.toUpperCase() ?? "MD5";
    if (chosen || hashes[algorithm] === undefined) return "";
    chosen = true;
    return line;
  });
  return chosen ? kept + message.slice(head.length) : message;
}
