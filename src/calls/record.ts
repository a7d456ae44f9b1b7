/*
 * What is kept of a request that has ended, and of its session: who asked for what, what was decided and why, and what
 * the client heard. It is for people who ask why a call went as it did. No bill depends on it.
 *
 * Texts of others are cut and made printable when a record is made (`shown`), so whoever shows a record need not.
 */

/** `change`: a re-INVITE or UPDATE within a session. */
export type CallKind = "invite" | "refer" | "change";

/** One app server that was asked, and the session that came of it. Times are milliseconds since the request came. */
export interface AskedServer {
  readonly appServer: string;
  readonly session: string;
  /** Call-ID of the dialog with the app server; missing: nothing was sent to it. */
  readonly callId?: string;
  readonly atMs: number;
  /** What it answered last. Missing: nothing that counts. */
  readonly status?: number;
  readonly reason?: string;
  /** Why there is no answer: it was not reached, was silent, rang too long. */
  readonly why?: string;
  readonly answerMs?: number;
  /** How long the session's clock ran; missing: it never did. */
  readonly clockMs?: number;
  /** Who ended the session: `client`, `server`, `change`, `relay: <why>`; missing: there was none. */
  readonly endedBy?: string;
  /**
   * What it cost by the session's book, without taxes: `25.20 EUR`; missing: nothing. Later charges are on the bill.
   */
  readonly cost?: string;
}

/**
 * What was seen of a call while it ran, in short. Times are milliseconds since the request came; before it below zero.
 */
export interface Kept {
  readonly messages: readonly (readonly [atMs: number, from: string, to: string, text: string])[];
  readonly states: readonly (readonly [atMs: number, chart: string, event: string, from: string, to: string])[];
}

/** An INVITE, a REFER or a change that ended. */
export interface CallRecord {
  /** Named in the log, and in the answer to the client when the call failed. */
  readonly id: string;
  readonly kind: CallKind;
  readonly method: string;
  /** When it came, milliseconds since 1970. */
  readonly at: number;
  /** The correlation id of all sessions of the call; missing: it came to no session. */
  readonly call?: string;
  /** Call-ID of the dialog with its sender. */
  readonly callId: string;
  /** It came from an app server. */
  readonly fromServer?: true;
  /** Where it came from: `udp/198.51.100.7:5060`. */
  readonly source: string;
  /** Who had signed in; missing: a stranger. */
  readonly user?: string;
  /** The Request-URI. */
  readonly uri: string;
  /** The rule that decided; missing: none. */
  readonly rule?: string;
  readonly service?: string;
  readonly asked?: readonly AskedServer[];
  /** The session in which it came, and the Call-ID of its dialog with the other end. */
  readonly within?: { readonly session: string; readonly appServer: string; readonly callId?: string };
  /** The final answer; for an accepted REFER, what the move came to. Missing: there was none. */
  readonly status?: number;
  readonly reason?: string;
  /** What the sender is not told. */
  readonly why?: string;
  /** `client`, `server`, `relay`, `relay: <why>`, or `change`; missing: it has not ended. */
  readonly endedBy?: string;
  /** Milliseconds until the first provisional answer beyond 100, until the final one, and until all was over. */
  readonly ringMs?: number;
  readonly answerMs?: number;
  readonly wholeMs: number;
  /** All sessions together. */
  readonly cost?: string;
  /** Missing: its messages were not kept. */
  readonly kept?: Kept;
  /** It goes on. */
  readonly running?: true;
  /** Its beginning is in an earlier record of the same id: another process had the session then. */
  readonly resumed?: true;
}

/** Whether its sender did not get what it asked for. A call that was given up by its own sender is none of these. */
export const isFailure = ({ status, endedBy }: CallRecord): boolean =>
  status !== undefined && status >= 300 && endedBy !== "client";

/** The whole of a call whose record was begun by one process and ended by another. */
export function joined(begin: CallRecord, end: CallRecord): CallRecord {
  const { resumed: _resumed, at: _at, wholeMs: _wholeMs, asked = [], ...rest } = end;
  const { running: _running, ...begun } = begin;
  const before = (begun.asked ?? []).map((one) => {
    const later = asked.find(({ session }) => session === one.session);
    return later ? { ...one, ...later, atMs: one.atMs } : one;
  });
  // The end counts its times from when it took the call up.
  const laterMs = end.at - begun.at;
  const more = asked
    .filter(({ session }) => !before.some((one) => one.session === session))
    .map((one) => ({ ...one, atMs: one.atMs + laterMs }));
  const kept = joinedKept(begun.kept, end.kept, laterMs);
  const wholeMs = Math.max(begun.wholeMs, end.at + end.wholeMs - begun.at);
  const whole = { ...begun, ...rest, source: begun.source, uri: begun.uri, asked: [...before, ...more], wholeMs };
  return kept ? { ...whole, kept } : whole;
}

function joinedKept(begin: Kept | undefined, end: Kept | undefined, laterMs: number): Kept | undefined {
  if (!end) return begin;
  const { messages, states } = end;
  return {
    messages: [...(begin?.messages ?? []), ...messages.map(([at, ...rest]) => [at + laterMs, ...rest] as const)],
    states: [...(begin?.states ?? []), ...states.map(([at, ...rest]) => [at + laterMs, ...rest] as const)],
  };
}
