import type { Ending, Failure, Side } from "../../../machines/events.ts";
import type { requestMachine } from "../../../machines/request.ts";
import type { SessionContext, sessionMachine } from "../../../machines/session.ts";
import type { transferMachine } from "../../../machines/transfer.ts";
import type { OpenBranch, OpenRecord } from "../../calls/open-record.ts";
import type { CallRecords } from "../../calls/records.ts";
import type { BookKeeping, Refusal } from "../../charging/charges/book.ts";
import type { PartsState } from "../../charging/charges/book-state.ts";
import type { CallCharges, Charged } from "../../charging/charges/call-charges.ts";
import type { CallParts, Price } from "../../charging/charges/call-parts.ts";
import type { ChargeableSession, DirectCharges } from "../../charging/charges/direct.ts";
import type { CreditStore } from "../../charging/credit/store.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import type { LaterRecords } from "../../charging/events/later-records.ts";
import type { ChartActor, Inspector } from "../../chart/actor.ts";
import type { Chart } from "../../chart/chart.ts";
import type { Config } from "../../config/schema.ts";
import type { Authenticator } from "../../directory/authenticator.ts";
import type { Directory } from "../../directory/directory.ts";
import type { Strangers } from "../../directory/strangers.ts";
import type { AppServer, Identified, Service } from "../../directory/types.ts";
import type { Proof } from "../../identity/proof.ts";
import type { Attest } from "../../identity/shaken.ts";
import type { Bindings } from "../../registrar/bindings.ts";
import type { SipRequest, SipResponse } from "../../sip/message.ts";
import type { SipUri } from "../../sip/uri.ts";
import type { Clock } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import type { Outstanding } from "../../support/outstanding.ts";
import type { PeerLog } from "../../support/peer-log.ts";
import type { Random } from "../../support/random.ts";
import type { Timeline, Timelines } from "../../support/timeline.ts";
import type { TimerQueues } from "../../support/timer-queues.ts";
import type { TokenMap } from "../../support/token-map.ts";
import type {
  ClientTransaction,
  ClientTransactionUser,
  NewRequest,
  ServerTransaction,
  TransactionLayer,
} from "../../transaction/types.ts";
import type { Destination, Flow, TransportLayer } from "../../transport/types.ts";
import type { Admission } from "../admission/admission.ts";
import type { ClientSources } from "../admission/client-source.ts";
import type { UserLoads } from "../admission/user-loads.ts";
import type { Answer } from "../dialog/answer.ts";
import type { Border } from "../dialog/border.ts";
import type { Dialog } from "../dialog/dialog.ts";
import type { CameFrom, Reach } from "../dialog/reach.ts";
import type { SessionIdentity } from "../dialog/session-id.ts";
import type { Counters } from "./counters.ts";
import type {
  Asking,
  CallToClient,
  ChargesPort,
  CreditTerms,
  FormerPart,
  HangUpPort,
  HeldFor,
  MediaPort,
  MediaRelay,
  OthersPort,
  Recorder,
  ReliablePort,
  SessionTimerPort,
  TransferPort,
  UnderWay,
  Withdrawn,
} from "./ports.ts";
import type { CreditState } from "./session-state.ts";

/** Keeps sessions, so that they outlive the process. */
export interface SessionKeeper {
  /** The session's data have changed, or the session is established now. */
  changed(session: SessionPort): void;
  /**
   * Called before the client hears of the session's answer. Resolves when the session would go on without this process,
   * or when that takes too long. Undefined: nobody needs to wait.
   */
  copied?(session: SessionPort): Promise<void> | undefined;
  /** Whoever is asked rings, or whoever asks was told to wait. */
  rings?(session: SessionPort): void;
  /** The session is over. */
  closed(session: SessionPort): void;
}

/** What the parts of the relay share: the layers below, the registered data, and who is in a call now. */
export interface Core {
  readonly config: Config;
  readonly clock: Clock;
  /** Times of day, for what is put on record. */
  readonly timelines: Timelines;
  readonly random: Random;
  /** This relay's name in the ids of its sessions; "": there is no other relay to tell apart. */
  readonly node: string;
  readonly log: Logger;
  /** For log lines that a peer can cause again and again. */
  readonly peerLog: PeerLog;
  /** Records of requests: what became of them, and why. */
  readonly calls: CallRecords;
  /** Where requests come from, also behind proxies, and how many of them are looked at. */
  readonly sources: ClientSources;
  readonly admission: Admission;
  readonly strangers: Strangers;
  /** What each user has under way. */
  readonly loads: UserLoads;
  readonly transport: TransportLayer;
  readonly transactions: TransactionLayer;
  readonly directory: Directory;
  readonly authenticator: Authenticator;
  /** For app servers, which sign in with keys of their own (M15). */
  readonly appServerAuthenticator: Authenticator;
  /** Where users are reached who have registered (RFC 3261 §10). */
  readonly bindings: Bindings;
  readonly otherFlows: OtherFlowsPort;
  /** Undefined: the relay is alone. */
  flowsElsewhere?: FlowsElsewherePort;
  /** Where the requests of a client's dialog may go. */
  readonly reach: Reach;
  /** Which header fields cross from one leg to the other. */
  readonly border: Border;
  readonly recorder: Recorder;
  /** How long to wait for clients whose connections broke when the process before this one ended. */
  readonly afterRestart: { readonly reconnectS: number };
  /** Undefined: sessions end with the process. */
  readonly kept?: SessionKeeper | undefined;
  /** Events that could not be put on record, and are tried until they are. */
  readonly laterRecords: LaterRecords;
  /** Undefined: INVITEs are not signed. */
  readonly proof?: Proof;
  /** The operator's own word on who calls (RFC 8588); undefined: it is not given. */
  readonly attest?: Attest;
  /** What changes descriptions of media; undefined: no media relay is in any path. */
  readonly media?: MediaRelay | undefined;
  /** What the books of charges share. */
  readonly keeping: BookKeeping;
  /** Charges outside of a session's own dialog (M15, M17). */
  readonly direct: DirectCharges;
  /** Set when this node has joined a cluster. */
  others?: OthersPort;
  /** Whether new sessions are refused now, since this node is cut off from the others. */
  refusesNew?: () => boolean;
  /** Prepaid balances; undefined: the store has none, and prepaid users cannot call. */
  readonly credit?: CreditStore | undefined;

  /** Timers of sessions and what belongs to them. They have few different durations. */
  readonly timers: TimerQueues;
  /** Who inspects the actors (P1). */
  readonly inspectors: Set<Inspector>;
  /** The charts with their actions, made once. */
  readonly requestLogic: Chart<typeof requestMachine>;
  readonly sessionLogic: Chart<typeof sessionMachine>;

  readonly transferLogic: Chart<typeof transferMachine>;

  /** Client requests under way, by id. */
  readonly requests: TokenMap<RequestPort>;
  /** Sessions under way, by id. */
  readonly sessions: TokenMap<SessionPort>;
  /** Sessions that ended and still take charges (M15). */
  readonly ended: EndedPort;
  /** The halves of sessions, by the tag that the relay put into their dialog: how a message finds its session. */
  readonly legs: TokenMap<LegPort>;
  /**
   * Moves by REFER under way, by id. Those whose REFER came outside of a session stand also under the tag that the
   * relay put into their dialog.
   */
  readonly transfers: TokenMap<TransferPort>;
  readonly transfersByTag: TokenMap<TransferPort>;
  /** Legs whose peer is reached by a connection of the peer's own making. */
  readonly legsByFlow: Map<Flow, Set<LegPort>>;
  /**
   * Sessions that are over, but whose app server has not answered BYE yet: charges in that answer still count (M16).
   */
  readonly byesUnanswered: Set<SessionPort>;
  /** Ends of sessions on their way to the disk, with the answers that wait for them. */
  readonly ending: Outstanding;
  readonly counters: Counters;
  /** `draining`: the relay takes no new sessions, because it is about to stop. `hurried`: it is to stop now. */
  draining: boolean;
  hurried: boolean;

  /**
   * Calls `found` with the addresses of a URI, best first, or with none (RFC 3263). At once where the URI has an IP
   * address.
   */
  resolve(uri: SipUri, found: (destinations: readonly Destination[]) => void): void;
}

/** The device of a client, by whose other flow it is reached where one is gone (RFC 5626 §4.1). */
export interface Device {
  readonly user: string;
  readonly instance: string;
}

/** Dialogs whose connection is gone (../leg/other-flows.ts). */
export interface OtherFlowsPort {
  /** How many dialogs wait for a device. */
  readonly size: number;
  /** The peer is reached no more. It goes on at once by another flow of its device, or waits for one. */
  look(leg: LegPort): void;
  /** The dialog is over, or its peer has been heard of. */
  forget(leg: LegPort): void;
}

/** Connections that other nodes of the cluster may have (../leg/flows-elsewhere.ts). */
export interface FlowsElsewherePort {
  /** The peer is not reached from here. Its connection is used as soon as another node says that it has it. */
  look(leg: LegPort): void;
  /** The dialog is over, or its peer has been heard of. */
  forget(leg: LegPort): void;
  /** `send` is called if the peer's connection, which is looked for, is found after its dialog is over. */
  owes(leg: LegPort, send: (flow: Flow) => void): void;
  /** The same for a place from which a connection was made, whoever's dialog it is. */
  owesTo(place: CameFrom, send: (flow: Flow) => void): void;
}

/** What the rest of the relay sees of a leg: half a session, one dialog (../leg/leg.ts). */
export interface LegPort {
  readonly side: Side;
  /** Changes when a part of the call gives way to the next (M20-M22). */
  session: SessionPort;
  readonly dialog: Dialog;
  /** Info Packages that this peer offered to receive (RFC 6086 §5.2). */
  offered: readonly string[];
  /** A 2xx of ours whose ACK is awaited. */
  answer: Answer | undefined;
  /** The answer that will go out as soon as what it promises is kept. */
  readonly coming: Answer | undefined;
  /** Both ends know the dialog: a 2xx was sent or received (RFC 3261 §12). */
  confirmed: boolean;
  /** Called instead of a BYE where the peer has not answered yet: the relay's INVITE to a client (M23). */
  unwanted: (() => void) | undefined;
  /** The connection on which the peer came is gone, and nothing has come from the peer since. */
  stranded: boolean;
  /** Set after a restart, until something comes from the peer: when the peer was last heard of. */
  readonly unheardSince: number | undefined;
  /** When the peer last showed that it is there, by the session's timeline; 0: not yet in this process. */
  readonly heardAt: number;
  /** Its session timer (RFC 4028); undefined: there never was one. */
  timer: SessionTimerPort | undefined;
  /** The session has come from another node, and the peer has not been told our Contact yet. */
  readonly contactIsNew: boolean;
  /** The peer knows our Contact, or cannot be told. */
  contactTold(): void;
  /** The peer has shown that it is there, or counts as there. */
  isThere(): void;
  /** How often the peer has moved. */
  readonly moves: number;
  /** BYE was sent or came: nothing new passes in this dialog (RFC 3261 §15). */
  over: boolean;
  readonly closed: boolean;
  /** Whether proxies that the peer named lead to it. */
  readonly routed: boolean;
  /** A new request in this dialog, not yet sent. */
  request(method: string): SipRequest;
  /** Sends a request in a transaction of its own. */
  send(request: SipRequest, user: ClientTransactionUser, started?: (transaction: ClientTransaction) => void): void;
  /** Sends the ACK of a 2xx; `seq` is the number of the INVITE (RFC 3261 §13.2.2.4). */
  sendAck(seq: number, fill?: (ack: SipRequest) => void): void;
  /** Sends a 2xx to the peer's INVITE and repeats it until its ACK comes (RFC 3261 §13.3.1.4). */
  answerUntilAck(
    transaction: ServerTransaction,
    response: SipResponse,
    told: { acknowledged(ack: SipRequest): void; silent(): void },
  ): void;
  /** The same once `recorded` resolves. Where it rejects the client hears 500, and has no session. */
  answerAfter(recorded: Promise<void>, ...answer: Parameters<LegPort["answerUntilAck"]>): void;
  acknowledged(ack: SipRequest): void;
  /** Sends the BYE as soon as no ACK is awaited for the 2xx that made the dialog (RFC 3261 §15). */
  whenAcknowledged(bye: { send(): void }): void;
  /** The peer's BYE came. */
  hungUp(): void;
  /** The peer's first 2xx: from now on the dialog is confirmed (RFC 3261 §12.1.2). */
  confirm(response: SipResponse): void;
  /** The peer's answer to a re-INVITE or UPDATE of ours (RFC 3261 §12.2.1.2). */
  refresh(response: SipResponse): void;
  /**
   * A request of the peer was accepted: where it came from is where the peer is now (RFC 3261 §12.2.2, RFC 5626 §5.3).
   */
  moveTo(came: Pick<ServerTransaction, "request" | "flow">): void;
  /** Sees the answers to the peer's requests. */
  responded(response: SipResponse): void;
  /** A request of this dialog came, whatever becomes of it. */
  heard(came: Pick<ServerTransaction, "request" | "flow">): void;
  /** With what the client has registered whose connection is gone; undefined: with nothing. */
  device: Device | undefined;
  /** Takes this connection in place of the one that is gone; false: it may not. */
  goBy(flow: Flow): boolean;
  /** The peer's connection is gone. */
  strand(): void;
  awaitReturn(forMs: number, gone: () => void): void;
  returned(): void;
  /** Takes the CSeq number of a peer's request; false: it is an old one. */
  takeSeq(request: SipRequest): boolean;
  /** Counts a request of the peer; false where there are more than `perSecond` in this second. */
  takesMore(now: number, perSecond: number): boolean;
  close(): void;
  /** Forgets the dialog and sends nothing: the dialog goes on elsewhere. */
  release(): void;
}

/** What the rest of the relay sees of a session (../session/session.ts), which alone writes its fields. */
export interface SessionPort {
  readonly id: string;
  readonly core: Core;
  readonly appServer: AppServer;
  readonly service: Service;
  /** What the rules found for the client's INVITE, and its Request-URI: a change is compared with these. */
  readonly identified: Identified;
  readonly asked: string;
  /** Who signed in; `facts.user` is whose bill it is on. */
  readonly user: string;
  /** Which end has called: the client, but for a call of an app server to a client. */
  readonly caller: Side;
  readonly facts: SessionFacts;
  readonly charges: ChargesPort;
  /** Only of a prepaid session, once an app server has answered. */
  readonly credit: CreditPort | undefined;
  readonly actor: ChartActor<typeof sessionMachine>;
  /** The ids of both ends, which its messages show. Undefined: they show none. */
  readonly identity: SessionIdentity | undefined;
  /** Its part of the request's record, while it is under way. */
  readonly branch: OpenBranch | undefined;
  /** The request that it is a branch of, until it is established or refused. */
  readonly request: RequestPort | undefined;
  /** The INVITE to the app server, while it is under way. */
  readonly invitation: Asking | undefined;
  /** Its reliable provisional answers, from the first on (RFC 3262). */
  readonly reliable: ReliablePort | undefined;
  readonly client: LegPort | undefined;
  readonly server: LegPort | undefined;
  /** Its media, where a media relay is in their path. */
  readonly media: MediaPort | undefined;
  /** Why the INVITE is cancelled, for Reason (RFC 3326). */
  readonly cancelReason: string | undefined;
  /** The re-INVITE or UPDATE under way. */
  readonly change: UnderWay | undefined;
  /**
   * The change of service that this part comes from. When the part is established, it gets the client's dialog
   * (M20-M22).
   */
  readonly takesOver: Takeover | undefined;
  /** The part of the session that it has taken over from. */
  readonly successorOf: FormerPart | undefined;
  readonly timeline: Timeline;
  /** When the longest time that the session may last is over. */
  readonly endsAt: number;
  /** A move to a second app server under way, by REFER (M23). */
  readonly transfer: TransferPort | undefined;
  readonly closed: boolean;
  /** Resolves when the start is on record, where the clock runs from the answer. */
  readonly started: Promise<void> | undefined;
  readonly context: SessionContext;
  /** What the parts of the call share; made for a next part where there is none yet. */
  readonly callParts: CallParts;
  readonly partsIfAny: CallParts | undefined;
  readonly partsState: PartsState | undefined;
  /** What earlier parts in the client's dialog cost. */
  readonly costsBefore: readonly Price[];
  readonly hangUp: HangUpPort;
  start(): void;
  leg(side: Side): LegPort | undefined;
  /** Takes this leg as the session's dialog with the client or app server. */
  take(leg: LegPort): void;
  /** Gives up the leg: the next part of the call has its dialog from now on. */
  giveAway(side: Side): LegPort | undefined;
  /** The app server is being asked. */
  asks(invitation: Asking): void;
  answersReliably(reliable: ReliablePort): void;
  /** A media relay is in the path of its media from now on. */
  takesMedia(media: MediaPort): void;
  /** Takes what is held for the session in the user's balance. */
  pays(credit: CreditPort): void;
  /** The session's start is on its way to the disk, and the client's answer waits for that. */
  startsWith(recorded: Promise<void>): void;
  /** When this part is established, it takes over from another part. */
  comesOf(takeover: Takeover): void;
  beginChange(change: UnderWay): void;
  /** Does nothing where another change is under way by now. */
  endChange(change: UnderWay): void;
  beginMove(transfer: TransferPort): void;
  endMove(transfer: TransferPort): void;
  /** Milliseconds since 1970, by the session's own timeline. */
  now(): number;
  /** The app server has accepted. `payload`: its answer. */
  answered(payload: SipResponse | undefined): void;
  giveUp(reason?: string): void;
  withdraw(reason: string): void;
  reportGivenUp(): void;
  reportFailure(failure: Failure): void;
  /** Ends the session by the relay's own decision. */
  end(ending: Ending): void;
  /** The clock runs. */
  established(at: number): void;
  goOn(): void;
  /** The part is over at `at`: free seconds that it did not use are left to the next part. */
  endPart(at: number): void;
  /**
   * From `at` on this session is the next part of the call, after `first`. It takes over the client's dialog, and the
   * app server's where that one stays the same.
   */
  succeed(first: SessionPort, at: number, keepsServer: boolean): void;
  /** The client has moved to this session from `first`. */
  isBeside(first: SessionPort): void;
  awaitByeAnswer(): void;
  /** Asks one end whether it is still in the session. */
  probe(leg: LegPort): void;
  /** The session timer of a leg was set, or stopped. */
  timerChanged(): void;
  /** `detail`: how that was found out, for the record. */
  lost(side: Side, detail: string): void;
  /** `context`: the chart's, where the chart has just ended it. */
  close(context?: SessionContext): void;
  release(): void;
  crashed(error: unknown): void;
}

/** What is held of a prepaid balance for a session (../charges/credit.ts). */
export interface CreditPort {
  readonly terms: CreditTerms;
  readonly state: CreditState;
  /** When the money will be used up, as far as is known now; undefined: time does not use it up. */
  readonly until: number | undefined;
  /** From now on the hold belongs to this session. */
  attach(session: SessionPort): void;
  start(at: number): void;
  goOn(): void;
  cover(charges: readonly Charged[]): Promise<Refusal | undefined>;
  /** Gives back what is not used. Resolves when that is done; never rejects. */
  close(started: boolean): Promise<void> | undefined;
  release(): void;
}

/** What a session sees of the request that it is a branch of (../request/request.ts). */
export interface RequestPort {
  /** Correlation id of all sessions of one client request. */
  readonly call: string;
  /** The name of the account that it is charged to, once the client has signed in. */
  readonly account: string;
  readonly actor: ChartActor<typeof requestMachine>;
  readonly transaction: ServerTransaction;
  readonly record: OpenRecord | undefined;
  readonly isForAnother: boolean;
  readonly change: ChangePort | undefined;
  readonly move: Move | undefined;
  /** An app server calls a client; undefined: it is the client that calls. */
  readonly calls: CallToClient | undefined;
  readonly credits: CreditsPort | undefined;
  decided(branch: SessionPort): void;
  /** An app server's 2xx is on its way to the client. */
  tells(): void;
  refusedBy(branch: string, said: SipResponse, failure: Failure): Failure;
  earlyDialogEnded(client: LegPort, status: number): void;
  /** It is cancelled, as by the client. `reason`: for the CANCELs to the app servers (RFC 3326). */
  giveUp(reason?: string): void;
  /** The client is gone before an answer: nobody needs one. */
  lost(): void;
}

/** What a prepaid request holds for the sessions that it may lead to (../charges/credits.ts). */
export interface CreditsPort extends HeldFor {
  giveBack(server: string): void;
  handOver(session: SessionPort): CreditPort | undefined;
}

/** A change of service that a client asks for, as its request and its branches see it (../change/service-change.ts). */
export interface ChangePort extends Takeover {
  readonly first: SessionPort;
  readonly identified: Identified;
  /** The present app server is asked, within its dialog. */
  readonly keepsServer: boolean;
  /** What the client hears where the change is given up. */
  readonly cancelStatus: number;
  /** Asks the present app server within its dialog. This is the `invitation` of `second` from then on. */
  askWithin(second: SessionPort, asked: SipRequest): void;
  /** The part that is asked for, once there is one. */
  second: SessionPort | undefined;
  told(second: SessionPort): void;
  refused(): void;
}

/** The session from which a client's request moves on (M23, M24). */
export interface Move {
  readonly first: SessionPort;
  /** The first session goes on (M24). */
  readonly keep: boolean;
  /** Only these app servers may be asked. */
  readonly only?: readonly string[];
  /** Makes the client's leg of the second session, where the relay invites the client (REFER). */
  readonly clientLeg?: (second: SessionPort) => LegPort;
  /** The CANCELs for the client that the relay has invited, if it gave that up now. */
  readonly withdrawals?: () => readonly Withdrawn[];
}

/** Hands a session's dialogs over to the next part. */
export interface Takeover {
  /** The next part has been established since `at`: it has the client's dialog from now on. */
  taken(second: SessionPort, at: number): void;
  /** A part that was asked for came to nothing. */
  dropped(second: SessionPort): void;
}

/** Sessions that ended here and still take charges (../charges/ended-sessions.ts). */
export interface EndedPort {
  readonly size: number;
  add(session: SessionPort, endedAt: number): void;
  joins(session: string, call: CallCharges): void;
  callOf(session: string): CallCharges | undefined;
  find(session: string): ChargeableSession | undefined;
  takes(transaction: NewRequest): boolean;
  /** Whether a request is of the dialog of such a session. */
  knows(request: SipRequest): boolean;
}
