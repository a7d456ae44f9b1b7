import { createHash } from "node:crypto";
import type { KeyUse, SharedKeys } from "../cluster/shared-keys.ts";
import { type Answer, PROBLEMS, type ProblemKind, problem } from "./problem.ts";

const MAX_KEYS = 10_000;

/**
 * What the Idempotency-Keys of app servers were used for (draft-ietf-httpapi-idempotency-key-header). The last 10,000
 * keys are kept in memory. They do not keep a charge from being made twice: each charge's own id within its session
 * does that, on disk and on every node. With the keys a refusal stays the same refusal, and a key that is used for
 * something else by mistake is found. Nodes of a cluster tell each other of them.
 */
export class IdempotencyKeys {
  /** By hash, in order of first use. */
  private readonly used = new Map<string, { readonly fingerprint: string; answer: Answer | undefined }>();
  private readonly elsewhere: Pick<SharedKeys, "used" | "heard"> | undefined;
  private readonly maxKeys: number;

  /** `elsewhere`: undefined: there are no other nodes. */
  constructor(elsewhere?: Pick<SharedKeys, "used" | "heard">, maxKeys = MAX_KEYS) {
    this.elsewhere = elsewhere;
    this.maxKeys = maxKeys;
    if (elsewhere) elsewhere.heard = (use) => this.heard(use);
  }

  /**
   * Notes which body a key is used for. `reused`: the key was used for another body. An answer: this request was
   * answered so before.
   */
  use(appServer: string, key: string, body: Buffer | string): Answer | "reused" | undefined {
    const name = nameOf(appServer, key);
    const fingerprint = hash(body);
    const before = this.used.get(name);
    if (before) return before.fingerprint === fingerprint ? before.answer : "reused";
    this.note(name, fingerprint);
    this.elsewhere?.used({ name, fingerprint, refusal: "" });
    return undefined;
  }

  /**
   * Notes the answer to the key's request. Only refusals need to be kept: a charge that was made gets the same answer
   * each time.
   */
  answered(appServer: string, key: string, answer: Answer): void {
    const name = nameOf(appServer, key);
    const used = this.used.get(name);
    if (!used || answer.status < 400 || answer.status >= 500) return;
    used.answer = answer;
    this.elsewhere?.used({ name, fingerprint: used.fingerprint, refusal: JSON.stringify(answer.body) });
  }

  /** What another node was asked under a key, or how it refused that. The first that is heard counts. */
  private heard({ name, fingerprint, refusal }: KeyUse): void {
    const used = this.used.get(name) ?? this.note(name, fingerprint);
    if (used.fingerprint === fingerprint) used.answer ??= readRefusal(refusal);
  }

  private note(name: string, fingerprint: string) {
    const used = { fingerprint, answer: undefined };
    this.used.set(name, used);
    if (this.used.size > this.maxKeys) this.used.delete(this.used.keys().next().value!);
    return used as { readonly fingerprint: string; answer: Answer | undefined };
  }
}

const hash = (text: Buffer | string): string => createHash("sha256").update(text).digest("base64");
const nameOf = (appServer: string, key: string): string => hash(`${appServer}\n${key}`);

/** A refusal as another node tells it; undefined: it is none. */
function readRefusal(text: string): Answer | undefined {
  let body: unknown;
  try {
    body = text === "" ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof body !== "object" || body === null) return undefined;
  const { type, detail, charge } = body as Record<string, unknown>;
  const kind = typeof type === "string" ? type.replace("urn:tollgate:problem:", "") : "";
  if (!Object.hasOwn(PROBLEMS, kind) || PROBLEMS[kind as ProblemKind].status >= 500) return undefined;
  const isText = (value: unknown): value is string | undefined => value === undefined || typeof value === "string";
  return isText(detail) && isText(charge) ? problem(kind as ProblemKind, detail, { charge }) : undefined;
}

/**
 * A key as the header has it: a string in quotes (RFC 8941 §3.3.3), or the same without them. Undefined: it is not a
 * key.
 */
export function idempotencyKey(header: string): string | undefined {
  const text = /^"((?:[^"\\]|\\["\\])*)"$/.exec(header.trim())?.[1]?.replace(/\\(["\\])/g, "$1") ?? header.trim();
  return /^[\x21-\x7e][\x20-\x7e]{0,254}$/.test(text) ? text : undefined;
}
