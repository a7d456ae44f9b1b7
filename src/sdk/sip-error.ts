/**
 * A SIP request that did not succeed. `status` is that of the final answer (RFC 3261 §21), 408 where none came, or 503
 * where the request could not be sent.
 */
export class SipError extends Error {
  override readonly name = "SipError";
  readonly status: number;
  readonly reason: string;
  /** Body of the answer, where it is plain text. */
  readonly detail: string | undefined;

  constructor(status: number, reason: string, detail?: string) {
    super(detail ? `${status} ${reason}: ${detail}` : `${status} ${reason}`);
    this.status = status;
    this.reason = reason;
    this.detail = detail;
  }
}
