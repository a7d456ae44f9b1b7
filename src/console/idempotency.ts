import { createHash } from "node:crypto";
import type { Answer } from "./problem.ts";

const MAX_KEYS = 10_000;

/**
 * What the Idempotency-Keys of app servers were used for (draft-ietf-httpapi-idempotency-key-header). The last 10,000
 * keys are kept in memory. They do not keep a charge from being made twice: each charge's own id within its session
 * does that, on disk and on every node. With the keys a refusal stays the same refusal, and a key that is used for
 * something else by mistake is found.
 */
export class IdempotencyKeys {
  /** In order of first use. */
  private readonly used = new Map<string, { readonly fingerprint: string; answer: Answer | undefined }>();
  private readonly maxKeys: number;

  constructor(maxKeys = MAX_KEYS) {
    this.maxKeys = maxKeys;
  }

  /**
   * Notes which body a key is used for. `reused`: the key was used for another body. An answer: this request was
   * answered so before.
   */
  use(appServer: string, key: string, body: Buffer | string): Answer | "reused" | undefined {
    const name = `${appServer}\n${key}`;
    const fingerprint = createHash("sha256").update(body).digest("base64");
    const before = this.used.get(name);
    if (before) return before.fingerprint === fingerprint ? before.answer : "reused";
    this.used.set(name, { fingerprint, answer: undefined });
    if (this.used.size > this.maxKeys) this.used.delete(this.used.keys().next().value!);
    return undefined;
  }

  /**
   * Notes the answer to the key's request. Only refusals need to be kept: a charge that was made gets the same answer
   * each time.
   */
  answered(appServer: string, key: string, answer: Answer): void {
    const used = this.used.get(`${appServer}\n${key}`);
    if (used && answer.status >= 400 && answer.status < 500) used.answer = answer;
  }
}

/**
 * A key as the header has it: a string in quotes (RFC 8941 §3.3.3), or the same without them. Undefined: it is not a
 * key.
 */
export function idempotencyKey(header: string): string | undefined {
  const text = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header.trim())?.[1]?.replace(/\\(["\\])/g, "$1") ?? header.trim();
  return /^[\x21-\x7e][\x20-\x7e]{0,254}$/.test(text) ? text : undefined;
}
