/**
 * A SIP request that did not succeed. `status` is that of the final answer (RFC 3261 §21), 408 where none came, or 503
 * where the request could not be sent.
 */
export class SipError extends Error {
  override readonly name = "SipError";
  readonly status: number;
  readonly reason: string;
  /**
   * What the answer says beside its reason: its body, where that is plain text, else the text of its Warning header.
   */
  readonly detail: string | undefined;
  /** Seconds after which the same request may be tried again (Retry-After, RFC 3261 §20.33); undefined: not said. */
  readonly retryAfterS: number | undefined;

  constructor(status: number, reason: string, detail?: string, retryAfterS?: number) {
    super(detail ? `${status} ${reason}: ${detail}` : `${status} ${reason}`);
    this.status = status;
    this.reason = reason;
    this.detail = detail;
    this.retryAfterS = retryAfterS;
  }
}
