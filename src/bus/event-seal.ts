import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { BusError } from "./nats-options.ts";
import type { NatsSettings } from "./settings.ts";

/** The header with an event's signature. */
export const SIGNATURE = "Tollgate-Signature";
/** The kind of signature: HMAC-SHA-256 (RFC 2104) of `EVENT`, a line feed, and the message's octets, in base64url. */
const SCHEME = "v1=";
const EVENT = "tollgate event v1\n";
const ID = "tollgate id v1\n";
/**
 * What nodes tell each other is signed together with its topic. So the signature is valid for no other topic, and for
 * no event.
 */
const TOLD = "tollgate node v1\n";
const KEY = "tollgate key v1\n";
const KEY_BYTES = 32;
const LEAST_CHARS = 32;

/**
 * Signs events and checks their signatures, with a secret that the cluster shares. Relays sign, and billing checks. The
 * signature covers the message as it goes over the bus: all attributes, and the event itself. So nobody can change a
 * message, and nobody without the secret can make one.
 */
export class EventSeal {
  private readonly secret: string;
  private readonly accepted: readonly string[];

  /** `accepted`: further secrets whose signatures are accepted, while a new secret replaces an old one. */
  constructor(secret: string, accepted: readonly string[] = []) {
    this.secret = secret;
    this.accepted = [secret, ...accepted];
  }

  sign(text: string): string {
    return this.signAs(EVENT, text);
  }

  /** Signs what a node tells the others on a topic. */
  signTold(topic: string, text: string): string {
    return this.signAs(`${TOLD}${topic}\n`, text);
  }

  private signAs(what: string, text: string): string {
    return SCHEME + mac(this.secret, what, text).toString("base64url");
  }

  /** What is wrong with an event's signature; undefined: a relay has signed it. */
  problem(text: string | Uint8Array, signature: string | undefined): string | undefined {
    return this.problemAs(EVENT, text, signature);
  }

  /** The same for a text that a node told on a topic. */
  toldProblem(topic: string, text: string | Uint8Array, signature: string | undefined): string | undefined {
    return this.problemAs(`${TOLD}${topic}\n`, text, signature);
  }

  private problemAs(what: string, text: string | Uint8Array, signature: string | undefined): string | undefined {
    if (!signature) return "it is not signed by a relay";
    const given = Buffer.from(signature.startsWith(SCHEME) ? signature.slice(SCHEME.length) : "", "base64url");
    const isOurs = this.accepted.some((secret) => {
      const expected = mac(secret, what, text);
      return given.length === expected.length && timingSafeEqual(given, expected);
    });
    return isOurs ? undefined : "its signature is of no relay of this cluster";
  }

  /**
   * Keys for a purpose, one of each secret, that of the present secret first (HKDF, RFC 5869). A key says nothing about
   * the secret, or about the key for another purpose.
   */
  keys(purpose: string): Buffer[] {
    return this.accepted.map((secret) => Buffer.from(hkdfSync("sha256", secret, "", KEY + purpose, KEY_BYTES)));
  }

  /**
   * An event's id as Nats-Msg-Id. It is made with the secret, since JetStream drops a message whose id it has seen.
   * Whoever could guess the id could send another message under it first, and so have the event dropped.
   */
  messageId(id: string): string {
    return `=${mac(this.secret, ID, id).toString("base64url")}`;
  }
}

const mac = (secret: string, what: string, text: string | Uint8Array): Buffer =>
  createHmac("sha256", secret).update(what).update(text).digest();

/**
 * The seal of these settings; undefined: events are not signed. Throws a `BusError` if a secret cannot be read, or is
 * too short.
 */
export function sealOf(
  { secretFile, acceptSecretFile }: Pick<NatsSettings, "secretFile" | "acceptSecretFile">,
  env: NodeJS.ProcessEnv,
): EventSeal | undefined {
  const secret = secretOf("bus.secretFile", secretFile, env.TOLLGATE_BUS_SECRET);
  const accept = secretOf("bus.acceptSecretFile", acceptSecretFile, env.TOLLGATE_BUS_ACCEPT_SECRET);
  if (secret === undefined) {
    if (accept === undefined) return undefined;
    throw new BusError("bus.acceptSecretFile: a secret is accepted beside bus.secretFile: set that as well");
  }
  return new EventSeal(secret, accept === undefined ? [] : [accept]);
}

function secretOf(setting: string, file: string | undefined, inEnv: string | undefined): string | undefined {
  const text = file === undefined ? inEnv || undefined : read(setting, file);
  const secret = text?.trim();
  if (secret !== undefined && secret.length < LEAST_CHARS)
    throw new BusError(
      `${setting}: the secret has fewer than ${LEAST_CHARS} characters: openssl rand -hex 32 makes one`,
    );
  return secret;
}

function read(setting: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new BusError(`${setting}: ${(error as Error).message}`);
  }
}
