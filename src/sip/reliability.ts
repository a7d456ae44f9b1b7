import { err, ok, type Result } from "../support/result.ts";
import { numberIn } from "./chars.ts";
import { knownMethod } from "./names.ts";

/** RAck: which reliable provisional response a PRACK acknowledges (RFC 3262 §7.2). */
export interface RAck {
  readonly rseq: number;
  /** Number and method of the CSeq of the response. */
  readonly cseq: number;
  readonly method: string;
}

/** Largest RSeq (RFC 3262 §3). */
const LARGEST = 2 ** 32 - 1;

/** Reads RSeq (RFC 3262 §7.1): 1 to 2^32 - 1. */
export function parseRSeq(text: string): Result<number, string> {
  const trimmed = text.trim();
  const number = numberIn(trimmed, 0, trimmed.length, 10);
  return number < 1 || number > LARGEST ? err("Bad RSeq") : ok(number);
}

/** Reads RAck: `776656 1 INVITE`. */
export function parseRAck(text: string): Result<RAck, string> {
  const parts = text.trim().split(/[ \t]+/);
  const rseq = parseRSeq(parts[0] ?? "");
  const number = parts[1] ?? "";
  const cseq = numberIn(number, 0, number.length, 10);
  const method = parts[2];
  if (!rseq.ok || cseq < 0 || cseq >= 2 ** 31 || !method || parts.length !== 3) return err("Bad RAck");
  return ok({ rseq: rseq.value, cseq, method: knownMethod(method) ?? method });
}

export const formatRAck = ({ rseq, cseq, method }: RAck): string => `${rseq} ${cseq} ${method}`;
