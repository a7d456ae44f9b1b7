/** The answer to an API call: a JSON body, its media type, and header fields. It is the same for HTTP and NATS. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export const PROBLEM_JSON = "application/problem+json";

/** Kinds of problems: `urn:tollgate:problem:<kind>` is the `type` of RFC 9457 §3.1.1. */
export const PROBLEMS = {
  malformed: { status: 400, title: "The request cannot be read" },
  unauthorized: { status: 401, title: "Sign in with a key of the app server" },
  "sign-in": { status: 401, title: "Sign in with a token" },
  prepaid: { status: 402, title: "A prepaid session takes no charges this way" },
  forbidden: { status: 403, title: "The app server does not offer the service" },
  role: { status: 403, title: "The role may not do this" },
  origin: { status: 403, title: "Another site's page may not ask this" },
  terms: { status: 403, title: "The charge is outside of the session's terms" },
  unknown: { status: 404, title: "No such session" },
  "not-found": { status: 404, title: "Nothing is here" },
  "no-such": { status: 404, title: "There is no such thing" },
  "method-not-allowed": { status: 405, title: "The method is not allowed here" },
  refused: { status: 409, title: "It cannot be done as things stand" },
  conflict: { status: 409, title: "The charge was made before with other terms" },
  closed: { status: 410, title: "The session takes no more charges" },
  "too-large": { status: 413, title: "The body is too large" },
  "media-type": { status: 415, title: "The body is of another media type" },
  input: { status: 422, title: "What was sent cannot be used" },
  unreadable: { status: 422, title: "The charges cannot be read" },
  "key-reused": { status: 422, title: "The Idempotency-Key was used with another body" },
  "too-many": { status: 429, title: "Too many requests" },
  fault: { status: 500, title: "The relay failed" },
  "session-refused": { status: 409, title: "The other end, or the relay, refuses it" },
  "speaks-sip": { status: 409, title: "The app server speaks SIP: it does this in its dialog" },
  "session-failed": { status: 503, title: "It could not be done now" },
  unavailable: { status: 503, title: "The charges could not be put on record" },
} as const;

export type ProblemKind = keyof typeof PROBLEMS;

/** An answer that says what went wrong (RFC 9457). */
export function problem(
  kind: ProblemKind,
  detail?: string,
  more: {
    readonly headers?: Readonly<Record<string, string>>;
    readonly charge?: string | undefined;
    readonly sip?: { readonly status: number; readonly reason: string };
  } = {},
): Answer {
  const { status, title } = PROBLEMS[kind];
  const type = `urn:tollgate:problem:${kind}`;
  const body = {
    type,
    title,
    status,
    ...(detail && { detail }),
    ...(more.charge && { charge: more.charge }),
    ...(more.sip && { sip: more.sip }),
  };
  return { status, contentType: PROBLEM_JSON, headers: more.headers ?? {}, body };
}
