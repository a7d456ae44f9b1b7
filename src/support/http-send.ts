/** One HTTP request that is posted. */
export interface Outgoing {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What was answered; of a body the beginning. */
export interface Answered {
  readonly status: number;
  readonly retryAfter?: string;
  readonly text: string;
}

/** Sends a request; rejects where there is no answer. */
export type Send = (request: Outgoing, signal: AbortSignal) => Promise<Answered>;

/** So much of an answer is read: what Lago has to say about 100 events, and more. */
const ANSWER_BYTES = 65_536;
const CAUSE_CHARS = 300;

/** By the fetch of Node. A redirection is an answer like others: secrets go nowhere else. */
export const sendByFetch: Send = async ({ url, headers, body }, signal) => {
  const response = await fetch(url, { method: "POST", headers, body, redirect: "manual", signal });
  const retryAfter = response.headers.get("retry-after");
  return {
    status: response.status,
    text: await beginningOf(response),
    ...(retryAfter !== null && { retryAfter }),
  };
};

async function beginningOf({ body }: Response): Promise<string> {
  if (!body) return "";
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= ANSWER_BYTES) break; // which cancels the rest
  }
  return Buffer.concat(chunks).subarray(0, ANSWER_BYTES).toString("utf8");
}

/**
 * Retry-After (RFC 9110 §10.2.3): seconds, or a date; in milliseconds from `now`, by the wall clock. Undefined: nothing
 * that can be read was said.
 */
export function retryAfterMs(
  { retryAfter }: { readonly retryAfter?: string | undefined },
  now: number,
): number | undefined {
  if (retryAfter === undefined) return undefined;
  if (/^\d{1,9}$/.test(retryAfter.trim())) return Number(retryAfter) * 1000;
  const at = Date.parse(retryAfter);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

/** Why there was no answer. fetch says "fetch failed", and why in the cause. */
export function causeOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { code?: string; message?: string } };
  return printed(cause?.code ?? cause?.message ?? message ?? String(error));
}

/** What a peer has written goes into the log and the store: as one line, without control characters. */
export const printed = (text: string): string =>
  text
    .replace(/[\p{C}\s]+/gu, " ")
    .trim()
    .slice(0, CAUSE_CHARS);
