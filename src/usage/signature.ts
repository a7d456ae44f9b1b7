import { createHash, createHmac } from "node:crypto";

/*
 * The signature of Standard Webhooks 1.0.0, symmetric scheme (https://github.com/standard-webhooks/standard-webhooks).
 */

const PREFIX = "whsec_";
/** "At least 24 bytes (192 bits, 512 maximum)": the reference libraries take up to 64 octets. */
const LEAST_BYTES = 24;
const MOST_BYTES = 64;

/** The octets of a secret as it is written, `whsec_` and base64; or what is wrong with it. */
export function secretOctets(text: string): Buffer | string {
  if (!text.startsWith(PREFIX)) return `it does not begin with ${PREFIX}`;
  const base64 = text.slice(PREFIX.length);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return `what follows ${PREFIX} is not base64`;
  const octets = Buffer.from(base64, "base64");
  if (octets.length >= LEAST_BYTES && octets.length <= MOST_BYTES) return octets;
  return `it has ${octets.length} octets, not ${LEAST_BYTES} to ${MOST_BYTES}: echo ${PREFIX}$(openssl rand -base64 32)`;
}

/**
 * The id of a message with these events, the same each time that they are sent together. An event's own id may have
 * full stops in it, and would then make the signed text ambiguous.
 */
export function messageId(eventIds: readonly string[]): string {
  const text = eventIds.length === 1 ? eventIds[0]! : JSON.stringify(eventIds);
  return `msg_${createHash("sha256").update(text).digest("base64url").slice(0, 32)}`;
}

/** The header fields with which a body is signed by each of the secrets, the present one first; `at`: seconds. */
export function signed(id: string, at: number, body: string, secrets: readonly Buffer[]): Record<string, string> {
  const mac = (secret: Buffer) => createHmac("sha256", secret).update(`${id}.${at}.${body}`).digest("base64");
  return {
    "webhook-id": id,
    "webhook-timestamp": String(at),
    "webhook-signature": secrets.map((secret) => `v1,${mac(secret)}`).join(" "),
  };
}
