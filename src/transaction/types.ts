import type { SipMessage, SipRequest, SipResponse } from "../sip/message.ts";
import type { Destination, Flow } from "../transport/types.ts";

/** RFC 3261 §17.1.1.1, table 4; all in milliseconds. */
export interface TimerSettings {
  readonly t1Ms: number;
  readonly t2Ms: number;
  readonly t4Ms: number;
}

export const defaultTimers: TimerSettings = { t1Ms: 500, t2Ms: 4000, t4Ms: 5000 };

/** Sees the answers to a request before they go out, and may add header fields. */
export interface Witness {
  responded(response: SipResponse): void;
}

/** A request that came in, and the way to answer it (RFC 3261 §17.2). */
export interface ServerTransaction {
  readonly request: SipRequest;
  readonly flow: Flow;
  /** True once a final response was given. */
  readonly answered: boolean;
  /** INVITE only: a provisional answer has gone out. Whoever asks does not repeat its request any more, and waits. */
  readonly told: boolean;
  /** Set by the TU. */
  witness?: Witness | undefined;
  /**
   * Sends a response; it takes over the request's Via, From, To, Call-ID and CSeq unless they are set. A second final
   * response is dropped, except a 2xx to an INVITE: the TU repeats it by this method until the ACK comes (RFC 6026
   * §7.1, `accepted`).
   */
  respond(response: SipResponse): void;
  /** INVITE only: told when the layer has sent its own 100 (RFC 3261 §17.2.1). */
  onTrying?: () => void;
  /** INVITE only: told when a matching CANCEL arrived (the layer has answered the CANCEL with 200). */
  onCancel?: (cancel: SipRequest) => void;
  /** INVITE only: told when the ACK of a final error response arrived. With undefined: it never came (Timer H). */
  onAck?: (ack: SipRequest | undefined) => void;
  /**
   * INVITE only: told when the connection on which the request came is gone before a final response was given. The
   * transaction stays (RFC 6026 §7.1); a response given now is tried on a new connection (RFC 3261 §18.2.2).
   */
  onFlowFailed?: (reason: string) => void;
}

/** A request that is new. */
export interface NewRequest extends ServerTransaction {
  /**
   * Makes the transaction of the request (RFC 3261 §17.2): it absorbs repeated requests, and repeats answers. The layer
   * calls this itself when `TransactionUser.request` returns without an answer. A final answer that is given before
   * goes out without a transaction (RFC 3261 §8.2.7), except a 2xx to an INVITE: nothing of the request is kept, and
   * each copy of it gets one answer. So a request from a forged address costs nothing that lasts. `repeats`: how many
   * times at most a refusal of an INVITE is repeated until its ACK comes.
   */
  begin(repeats?: number): void;
  /** The request gets no answer and no transaction. */
  ignore(): void;
}

/**
 * What the sender of a request is told (RFC 3261 §17.1). Exactly one of `final`, `timeout`, `transportError` comes,
 * then nothing more but repeated 2xx.
 */
export interface ClientTransactionUser {
  provisional?(response: SipResponse): void;
  /**
   * A final response. For INVITE each 2xx comes here, also repeated and from other branches (RFC 6026 §8.4); the
   * layer ACKs errors itself.
   */
  final(response: SipResponse): void;
  /** Timer B or F fired: treated as 408 (RFC 3261 §8.1.3.1). */
  timeout(): void;
  /** The flow failed: treated as 503 (RFC 3261 §8.1.3.1). */
  transportError(reason: string): void;
}

/** A dialog that may go on elsewhere: then another process sends what is to be sent in it. */
export interface Released {
  readonly released?: boolean | undefined;
}

/** A CANCEL, and by which way it goes. */
export interface Withdrawal {
  readonly cancel: SipRequest;
  readonly flow: Flow;
}

/** A request on its way. It can be kept without keeping messages in memory: after the final response it drops them. */
export interface ClientTransaction {
  readonly branch: string;
  readonly flow: Flow;
  /**
   * INVITE only. CANCEL goes out now, or as soon as a provisional answer came (RFC 3261 §9.1); no-op once a final one
   * came.
   */
  cancel(headers?: readonly [name: string, value: string][]): void;
  /**
   * INVITE only: the CANCEL that would go out now, and its way. Undefined: no provisional answer has come, or a final
   * one.
   */
  withdrawal?(): Withdrawal | undefined;
  /**
   * Its user hears nothing more, e.g. because the session was given up. The transaction still does what the protocol
   * demands. `dialog`, for an INVITE: the To tag of the dialog that it has given its user; see
   * `TransactionUser.unwanted`.
   */
  abandon(dialog?: string): void;
}

/**
 * What the transaction layer tells the router (the TU of RFC 3261 §17): `request` is the one entry for everything that
 * is new.
 */
export interface TransactionUser {
  /**
   * Asked about each new INVITE outside of a dialog, before anything is kept of it. Returns the challenge if its sender
   * must sign in first. It is sent without a transaction, so a stranger costs nothing that lasts; if the same request
   * comes again, it gets a challenge again (RFC 3261 §8.2.7, §26.3.2.4).
   */
  challenge?(request: SipRequest, flow: Flow): SipResponse | undefined;
  /**
   * Asked before a request is answered that may come from anybody: one outside of dialogs, one that cannot be read, or
   * a CANCEL that matches nothing. False: too many have come from that source. Then no answer is sent by UDP, since the
   * source may be forged; on a connection, whose source is sure, it is 503.
   */
  admits?(request: SipRequest, flow: Flow): boolean;
  /**
   * Whether the source address is known to be real, so that an answer reaches the sender. If not, an answer without a
   * transaction may be only a few times as long as its request.
   */
  reaches?(request: SipRequest, flow: Flow): boolean;
  /** Whether a request that belongs to no session comes from somebody who gets no answer at all. Default: no. */
  ignores?(request: SipRequest, flow: Flow): boolean;
  /** A new request, not a retransmission, not ACK, not CANCEL of a known INVITE. */
  request(transaction: NewRequest): void;
  /**
   * The layer itself refuses a request, without a transaction. `response`: undefined where it gets no answer. `why` is
   * for the operator.
   */
  refused?(request: SipRequest, flow: Flow, response: SipResponse | undefined, why: string): void;
  /** An ACK that belongs to no server transaction: it acknowledges a 2xx (RFC 3261 §13.2.2.4). */
  ack(ack: SipRequest, flow: Flow): void;
  /**
   * A 2xx to an INVITE that its user has abandoned; the INVITE was sent by `flow`. It must be acknowledged all the
   * same, or the peer repeats it for 64*T1 (RFC 3261 §13.2.2.4). `isNew`: its dialog belongs to nobody here and must be
   * ended.
   */
  unwanted?(response: SipResponse, flow: Flow, isNew: boolean): void;
  /**
   * A 2xx to an INVITE that has no transaction here (any more): a process before this one may have sent it, or nobody.
   */
  stray?(response: SipResponse, flow: Flow): void;
  /**
   * A CANCEL that matches nothing here. True: it is dealt with, and `nobody` is called if it must be answered by 481
   * after all.
   */
  cancelOfNone?(cancel: SipRequest, flow: Flow, nobody: () => void): boolean;
  /** Any other response that matches nothing here. */
  foreign?(response: SipResponse, flow: Flow): void;
  /** A connection ended or was refused. The transactions on it were told already. */
  flowFailed(flow: Flow, reason: string): void;
}

/** The transaction layer as the router and the legs see it. */
export interface TransactionLayer {
  /**
   * Sends a request in a new client transaction. `flow`: an open connection to prefer over a new one (RFC 5923).
   * `repeats`: how many times it is repeated at most over UDP (RFC 3261 §17.1.1.2, §17.1.2.2); its CANCEL, too.
   * `within`: its dialog; once that is released, nothing of it is repeated.
   */
  send(
    request: SipRequest,
    destination: Destination,
    user: ClientTransactionUser,
    flow?: Flow,
    repeats?: number,
    within?: Released,
  ): ClientTransaction;
  /** Sends an ACK for a 2xx: no transaction (RFC 3261 §13.2.2.4); the bytes can be sent again by `flow.send`. */
  sendAck(ack: SipRequest, destination: Destination, flow?: Flow): { flow: Flow; bytes: Buffer };
  /** Whether a message belongs to a transaction here, or is a CANCEL of one. */
  knows?(message: SipMessage): boolean;
  /** How many transactions exist now. */
  readonly size: number;
}
