import type { SipRequest, SipResponse } from "../sip/message.ts";
import type { Destination, Flow } from "../transport/types.ts";

/** RFC 3261 §17.1.1.1, table 4; all in milliseconds. */
export interface TimerSettings {
  readonly t1Ms: number;
  readonly t2Ms: number;
  readonly t4Ms: number;
}

export const defaultTimers: TimerSettings = { t1Ms: 500, t2Ms: 4000, t4Ms: 5000 };

/** A request that came in, and the way to answer it (RFC 3261 §17.2). */
export interface ServerTransaction {
  readonly request: SipRequest;
  readonly flow: Flow;
  /** True once a final response was given. */
  readonly answered: boolean;
  /**
   * Sends a response; it takes over the request's Via, From, To, Call-ID and CSeq unless they are set. A second final
   * response is dropped, except 2xx to INVITE, which the TU retransmits here until the ACK (RFC 6026 §7.1,
   * `accepted`).
   */
  respond(response: SipResponse): void;
  /** INVITE only: told when a matching CANCEL arrived (the layer has answered the CANCEL with 200). */
  onCancel?: (cancel: SipRequest) => void;
  /** INVITE only: told when the ACK of a final error response arrived, or (with undefined) never came: timer H. */
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
   * Makes a transaction of it (RFC 3261 §17.2): what comes again is absorbed, and answers are repeated. Otherwise one
   * is made when nobody has answered at once. A final answer that is given before any of that is given without a
   * transaction (RFC 3261 §8.2.7): nothing is kept of the request, nothing is sent but once for each time that it
   * comes, and its sender may have any address that he likes. `repeats`: how many times a refusal of an INVITE is
   * repeated at most until its ACK comes.
   */
  begin(repeats?: number): void;
  /** It gets no answer, and no transaction. */
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

/** A request on its way. Whoever keeps it keeps no message: what has been sent and answered is let go. */
export interface ClientTransaction {
  readonly branch: string;
  readonly flow: Flow;
  /**
   * INVITE only. CANCEL goes out now, or as soon as a provisional answer came (RFC 3261 §9.1); no-op once a final one
   * came.
   */
  cancel(headers?: readonly [name: string, value: string][]): void;
  /**
   * Stops telling its user anything, e.g. because the session was given up. The protocol's duties go on. `dialog`: of
   * an INVITE, the To tag of the dialog that its user has had of it; see `TransactionUser.unwanted`.
   */
  abandon(dialog?: string): void;
}

/** What the transaction layer tells the router (the TU of RFC 3261 §17): one entry for everything that is new. */
export interface TransactionUser {
  /**
   * Asked of a new INVITE outside of any dialog before anything is made of it. The answer to one whose sender is to
   * sign in first is given without a transaction: the same request gets such an answer again, and a stranger costs
   * nothing that lasts (RFC 3261 §8.2.7, §26.3.2.4).
   */
  challenge?(request: SipRequest, flow: Flow): SipResponse | undefined;
  /**
   * Asked before anything is answered that may come from anybody: a request outside of dialogs, one that cannot be
   * read, a CANCEL of nothing. False: too many have come from there. Then nothing is sent to where it seems to come
   * from, but on a connection, which cannot be forged.
   */
  admits?(request: SipRequest, flow: Flow): boolean;
  /**
   * Whether answers reach whoever asked, as far as is known. Else an answer without a transaction is no more than a
   * few times as long as its request.
   */
  reaches?(request: SipRequest, flow: Flow): boolean;
  /** A new request, not a retransmission, not ACK, not CANCEL of a known INVITE. */
  request(transaction: NewRequest): void;
  /** An ACK that belongs to no server transaction: it acknowledges a 2xx (RFC 3261 §13.2.2.4). */
  ack(ack: SipRequest, flow: Flow): void;
  /**
   * A 2xx to an INVITE, sent by `flow`, whose user has abandoned it. It is to be acknowledged all the same, or it
   * comes for 64*T1 (RFC 3261 §13.2.2.4). `isNew`: in a dialog that nobody has, and that is to be ended.
   */
  unwanted?(response: SipResponse, flow: Flow, isNew: boolean): void;
  /** A 2xx to an INVITE of which there is no transaction (any more): one of a process before this one, or of nobody. */
  stray?(response: SipResponse, flow: Flow): void;
  /** A connection ended or refused; transactions on it were told already. */
  flowFailed(flow: Flow, reason: string): void;
}

/** The transaction layer as the router and the legs see it. */
export interface TransactionLayer {
  /**
   * Sends a request in a new client transaction. `flow`: an open connection to prefer over a new one (RFC 5923).
   * `repeats`: how many times it is repeated at most over UDP (RFC 3261 §17.1.1.2, §17.1.2.2); its CANCEL, too.
   */
  send(
    request: SipRequest,
    destination: Destination,
    user: ClientTransactionUser,
    flow?: Flow,
    repeats?: number,
  ): ClientTransaction;
  /** Sends an ACK for a 2xx: no transaction (RFC 3261 §13.2.2.4); the bytes can be sent again by `flow.send`. */
  sendAck(ack: SipRequest, destination: Destination, flow?: Flow): { flow: Flow; bytes: Buffer };
  /** How many transactions exist now. */
  readonly size: number;
}
