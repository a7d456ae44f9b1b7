import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { AppServerKey } from "../../directory/types.ts";
import type { Clock } from "../../support/clock.ts";
import { err, ok, type Result } from "../../support/result.ts";
import { parseDirectBody } from "./body.ts";
import type { Outcome, RefusalKind } from "./book.ts";
import type { DirectRequest } from "./direct.ts";

/*
 * What a relay asks the relay that has a session's book, and the answer. The app server has signed in at the first
 * relay, and both relays keep hashes of its keys. Each text is sealed with these hashes, so that nobody else can charge
 * in the app server's name, or answer for a relay. A text is a seal in hexadecimal, a space, and JSON.
 */

/**
 * The key for seals about an app server, made of all of its keys, whichever it has signed in with. Undefined: it has no
 * keys.
 */
export function sealKey(keys: readonly AppServerKey[]): Buffer | undefined {
  if (keys.length === 0) return undefined;
  const hashes = keys.map(({ id, hash }) => `${id}:${hash}`).sort();
  return createHash("sha256")
    .update(`tollgate books\n${hashes.join("\n")}`)
    .digest();
}

const MAX_TEXT = 1_000;
const KINDS: Readonly<Record<RefusalKind, true>> = {
  unreadable: true,
  terms: true,
  conflict: true,
  unknown: true,
  closed: true,
  forbidden: true,
  prepaid: true,
};

/** `nonce` makes the question unique; the answer repeats it. */
export function writeQuestion(key: Buffer, nonce: string, appServer: string, request: DirectRequest): string {
  const { session, charges, channel } = request;
  return sealed(key, { nonce, appServer, channel, body: { session, charges } });
}

export interface Question {
  readonly nonce: string;
  readonly appServer: string;
  readonly request: DirectRequest;
}

/** Undefined: the question cannot be read, or no relay has sealed it for that app server. */
export function readQuestion(text: string, keyOf: (appServer: string) => Buffer | undefined): Question | undefined {
  const said = json(text);
  if (!isObject(said)) return undefined;
  const { nonce, appServer, channel, body } = said;
  if (typeof nonce !== "string" || typeof appServer !== "string") return undefined;
  if (channel !== "message" && channel !== "direct") return undefined;
  const key = keyOf(appServer);
  if (!key || !isSealed(key, text)) return undefined;
  const read = parseDirectBody(Buffer.from(JSON.stringify(body)));
  return read.ok ? { nonce, appServer, request: { ...read.value, channel } } : undefined;
}

export function writeAnswer(key: Buffer, nonce: string, outcome: Outcome): string {
  if (outcome.kind !== "failed") return sealed(key, { nonce, ...outcome });
  return sealed(key, { nonce, kind: "failed", unknown: outcome.unknown === true });
}

/** An error where no relay has sealed the answer, or it is not the answer to this question. */
export function readAnswer(key: Buffer, nonce: string, text: string): Result<Outcome, string> {
  const said = json(text);
  if (!isObject(said) || said.nonce !== nonce || !isSealed(key, text)) return err("the answer is not of a relay");
  if (said.kind === "recorded") return ok({ kind: "recorded" });
  if (said.kind === "failed") {
    const error = new Error("the relay that has the session could not put it on record");
    return ok({ kind: "failed", error, ...(said.unknown === true && { unknown: true }) });
  }
  const { refusal } = said;
  if (said.kind !== "refused" || !isObject(refusal)) return err("the answer cannot be read");
  const { kind, text: why, charge } = refusal;
  if (typeof kind !== "string" || !Object.hasOwn(KINDS, kind) || typeof why !== "string")
    return err("the answer cannot be read");
  return ok({
    kind: "refused",
    refusal: {
      kind: kind as RefusalKind,
      text: why.slice(0, MAX_TEXT),
      ...(typeof charge === "string" && { charge }),
    },
  });
}

const FRESH_MS = 60_000;

/** Whether a question says that it was written lately. An older one is not answered: somebody may have kept it. */
export const isFresh = (at: unknown, clock: Pick<Clock, "wall">): boolean =>
  typeof at === "number" && Math.abs(clock.wall() - at) <= FRESH_MS;

/** The text of something, sealed. */
export function sealed(key: Buffer, what: object): string {
  const text = JSON.stringify(what);
  return `${sealOf(key, text)} ${text}`;
}

const sealOf = (key: Buffer, text: string): string => createHmac("sha256", key).update(text).digest("hex");

const SEAL_CHARACTERS = 64;

function isSealed(key: Buffer, text: string): boolean {
  const given = Buffer.from(text.slice(0, SEAL_CHARACTERS));
  const right = Buffer.from(sealOf(key, text.slice(SEAL_CHARACTERS + 1)));
  return given.length === right.length && timingSafeEqual(given, right);
}

/** What was sealed with that key; `keyFor` says with which. Undefined: it is nothing that was sealed with it. */
export function unsealed(
  text: string,
  keyFor: (said: Record<string, unknown>) => Buffer | undefined,
): Record<string, unknown> | undefined {
  const said = json(text);
  const key = isObject(said) ? keyFor(said) : undefined;
  return key && isObject(said) && isSealed(key, text) ? said : undefined;
}

function json(text: string): unknown {
  if (text[SEAL_CHARACTERS] !== " ") return undefined;
  try {
    return JSON.parse(text.slice(SEAL_CHARACTERS + 1));
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
