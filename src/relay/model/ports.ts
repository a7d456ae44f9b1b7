import type { SessionEventOf, Side } from "../../../machines/events.ts";
import type { SessionContext } from "../../../machines/session.ts";
import type { OpenRecord } from "../../calls/open-record.ts";
import type { ChargeBook, Outcome } from "../../charging/charges/book.ts";
import type { BookState } from "../../charging/charges/book-state.ts";
import type { CallCharges } from "../../charging/charges/call-charges.ts";
import type { ChargingEvent, SessionFacts } from "../../charging/events/events.ts";
import type { Tariff, TariffUse } from "../../charging/money/tariff.ts";
import type { AppliedTax } from "../../charging/money/terms.ts";
import type { AppServer, Identified } from "../../directory/types.ts";
import type { Binding } from "../../registrar/binding.ts";
import type { SipMessage, SipRequest, SipResponse } from "../../sip/message.ts";
import type { Timeline } from "../../support/timeline.ts";
import type { ClientTransactionUser, ServerTransaction, Withdrawal } from "../../transaction/types.ts";
import type { Flow } from "../../transport/types.ts";
import type { MediaState, TimerState } from "./session-state.ts";

/* What the parts of a session see of each other. What they see of the session itself is in core.ts. */

/** Puts charging events on record: resolves when they are on disk (decision 8). */
export interface Recorder {
  append(event: ChargingEvent): Promise<void>;
  /** True when no more events can be taken: new sessions are then refused. */
  readonly full: boolean;
}

/** The other nodes of the cluster: what belongs to nothing here may belong to something there. */
export interface OthersPort {
  /**
   * Looks for the node that knows the request, and hands it over. False: there is none to ask. `nobody` is called when
   * none of them knows it.
   */
  request(request: SipRequest, flow: Flow, nobody: () => void): boolean;
  /** Hands over what nobody answers: an ACK, or a 2xx that comes again. */
  message(message: SipMessage, flow: Flow): void;
  /** A response for no request of this node: it is for those who were handed what came by the same connection. */
  response(response: SipResponse, flow: Flow): void;
}

/** How a session is hung up, by either end or by the relay (../session/hang-up.ts). */
export interface HangUpPort {
  /** The BYE of the end that hung up. */
  readonly bye: ServerTransaction | undefined;
  relayBye(event: SessionEventOf<"bye">, context: SessionContext): void;
  sendByes(context: SessionContext): void;
  answerBye(event: SessionEventOf<"bye">): void;
  collectCharges(event: SessionEventOf<"bye.answered">): void;
  recordEnd(context: SessionContext): void;
  relayByeAnswer(context: SessionContext): void;
}

/** Puts on record what a session costs (../charges/charges.ts). */
export interface ChargesPort {
  /** Undefined: the session is the only part of its call. */
  readonly call: CallCharges | undefined;
  readonly book: ChargeBook;
  readonly bookIfAny: ChargeBook | undefined;
  readonly before: ChargeBook | undefined;
  joins(call: CallCharges): void;
  open(): void;
  state(without?: "without charges"): BookState | undefined;
  restore(state: BookState): void;
  started(at: number): Promise<void>;
  changed(from: SessionFacts, startedAt: number, at: number): Promise<void>;
  ended(startedAt: number, endedAt: number, endedBy: string): Promise<void>;
  settled(): Promise<void>;
  take(transaction: ServerTransaction): void;
  collect(message: SipMessage): Promise<Outcome> | undefined;
  passOn(from: SipMessage, to: SipMessage, towards: Side): void;
}

/** Who pays, and for what. */
export interface CreditTerms {
  readonly user: string;
  /** The currency of the balance. */
  readonly currency: string;
  /** Names the hold in the balance. The session's events have it as `SessionFacts.hold`. */
  readonly key: string;
  readonly tariff: Tariff | undefined;
  /**
   * What earlier parts of the call have used of the tariff, as far as is known before this one begins. The true use may
   * be more.
   */
  readonly used?: TariffUse | undefined;
  /** Taxes on the session's time. */
  readonly taxes?: readonly AppliedTax[] | undefined;
}

/** What is held for the sessions that a request may lead to, as those sessions see it. */
export interface HeldFor {
  /** The taxes that were counted. */
  readonly taxes: CreditTerms["taxes"];
  /** The key of the hold for the session with that app server; undefined: nothing is held. */
  keyFor(server: string): string | undefined;
}

/** What a session is made for: a client's request, or a change inside another session. */
export interface Origin {
  /** Who signed in, and the name of the account. */
  readonly user: string;
  readonly account: string;
  /** Correlation id of all sessions of one client request. */
  readonly call: string;
  readonly identified: Identified | undefined;
  /** The Request-URI of the client's INVITE. */
  readonly asked: string;
  readonly previous: SessionFacts["previous"];
  /** The timeline of `previous`. */
  readonly timeline: Timeline | undefined;
  /** The hold in a prepaid balance, and the taxes that were counted for it. */
  readonly credits: HeldFor | undefined;
  /** The record of the request that it is made for. */
  readonly record?: OpenRecord | undefined;
}

/** What an app server's call to a client is: the app server and the devices that it calls. */
export interface CallToClient {
  readonly appServer: AppServer;
  readonly identified: Identified;
  /** What the client had registered when the call came. */
  readonly targets: readonly Binding[];
}

/** The part of a session that gave way to the next. */
export interface FormerPart {
  readonly facts: SessionFacts;
  readonly startedAt: number;
  /** What the same app server has charged in it. */
  readonly book: ChargeBook | undefined;
}

/** A CANCEL that would be sent now, to whom. */
export interface Withdrawn extends Withdrawal {
  readonly side: Side;
  /** It goes by a connection that the peer has made. */
  readonly byConnection: boolean;
}

/** A request that asks an app server: an INVITE, or a request within the existing dialog. */
export interface Asking {
  /** CSeq number of the request. */
  readonly seq: number;
  readonly refusal: SipResponse | undefined;
  /** A provisional answer has made an early dialog (RFC 3261 §12.1). */
  readonly hasEarlyDialog: boolean;
  cancel(reason?: string): void;
  /** The CANCELs that `cancel` would send now. */
  withdrawals(): readonly Withdrawn[];
  ack(from: SipRequest | undefined): void;
  openEarlyDialog(): void;
  close(): void;
}

/** Reliable provisional answers (../request/reliable.ts). */
export interface ReliablePort {
  isTaken(response: SipResponse): boolean;
  relay(answer: SipResponse): void;
  prack(prack: ServerTransaction): void;
  take(response: SipResponse): boolean;
  holds(response: SipResponse): boolean;
  answered(): void;
  giveUp(): void;
  stop(): void;
}

/** The session timer of a leg (../leg/session-timer.ts, RFC 4028). */
export interface SessionTimerPort {
  readonly runs: boolean;
  readonly intervalS: number;
  /** Who refreshes the session. */
  readonly refresher: TimerState["refresher"];
  /** The largest Min-SE that was heard, seconds. */
  readonly minS: number;
  /** The peer has no UPDATE. */
  byInvite: boolean;
  readonly description: TimerState["description"];
  /** When something is to be done, and when BYE is; by the session's timeline. */
  readonly dueAt: number;
  readonly endsAt: number;
  readonly state: TimerState | undefined;
  run(intervalS: number, refresher: TimerState["refresher"], now: number): void;
  off(): void;
  again(now: number, afterMs?: number): void;
  heardMin(seconds: number): boolean;
  told(message: SipMessage): void;
}

/** Why a description could not be changed, and what the end that sent it hears. */
export interface WithoutMedia {
  readonly why: string;
  readonly status: number;
}

/** Called once the message has its new description; at once where there is nothing to change. */
export type MediaDone = (failed: WithoutMedia | undefined) => void;

/** The media of a session, where a media relay is in their path (../media/path.ts). */
export interface MediaPort {
  /** Undefined: no media relay knows of it. */
  readonly state: MediaState | undefined;
  /** Whether a message has a description that is to be changed. */
  hasMedia(message: SipMessage): boolean;
  /** Changes the description in a request that came from that end. */
  request(from: Side, message: SipRequest, done: MediaDone): void;
  /** The same in an answer of that end. `toOffer`: the request has brought an offer. */
  response(from: Side, message: SipResponse, toOffer: boolean, done: MediaDone): void;
  /** For one more part of the call. */
  share(): MediaPort;
  /** The session is over: with the last part, the media relay is told to forget the call. */
  close(): void;
  /** The session goes on elsewhere. */
  release(): void;
}

/** Puts a media relay into the path of sessions' media. */
export interface MediaRelay {
  /** `from`: how the client sends media as long as no description says it; or what another process knew of the call. */
  open(id: string, from: "web" | "plain" | MediaState): MediaPort;
}

/** Hears answers whose descriptions a media relay changes. */
export interface MediaUser extends ClientTransactionUser {
  /** In the place of `final`, for a 2xx whose description could not be changed. Default: the session ends. */
  withoutMedia?(response: SipResponse, failed: WithoutMedia): void;
}

/** A change that is under way in a session: another one is refused meanwhile. */
export interface UnderWay {
  /** Who wants it; `relay`: it refreshes the session. */
  readonly from: Side | "relay";
  /** The session ends (RFC 3261 §15.1.2). */
  abort(): void;
  /** The CANCELs that the end of the process would leave unsent. */
  withdrawals?(): readonly Withdrawn[];
  /** The request that waits for the other end's answer. */
  readonly waits?: ServerTransaction;
}

/** What the rest of the relay sees of a move by REFER (../transfer/transfer.ts). */
export interface TransferPort {
  readonly side: "client";
  readonly from: Side;
  /** The REFER came outside of a session, and opened a dialog of its own. */
  readonly outside: boolean;
  readonly routed: boolean;
  owns(request: SipRequest): boolean;
  takeSeq(request: SipRequest): boolean;
  subscribe(transaction: ServerTransaction, id: string | undefined): void;
  clientLeft(): void;
}
