import type { requestMachine } from "../../../machines/request.ts";
import type { sessionMachine } from "../../../machines/session.ts";
import type { transferMachine } from "../../../machines/transfer.ts";
import type { BookKeeping } from "../../charging/charges/book.ts";
import type { DirectCharges } from "../../charging/charges/direct.ts";
import type { CreditStore } from "../../charging/credit/store.ts";
import type { ChargingEvent } from "../../charging/events/events.ts";
import type { LaterRecords } from "../../charging/events/later-records.ts";
import type { Inspector } from "../../chart/actor.ts";
import type { Chart } from "../../chart/chart.ts";
import type { Config } from "../../config/schema.ts";
import type { Authenticator } from "../../directory/authenticator.ts";
import type { Directory } from "../../directory/directory.ts";
import type { Proof } from "../../identity/proof.ts";
import type { SipUri } from "../../sip/uri.ts";
import type { Clock } from "../../support/clock.ts";
import type { Logger } from "../../support/log.ts";
import type { Outstanding } from "../../support/outstanding.ts";
import type { PeerLog } from "../../support/peer-log.ts";
import type { Random } from "../../support/random.ts";
import type { Timelines } from "../../support/timeline.ts";
import type { TimerQueues } from "../../support/timer-queues.ts";
import type { TokenMap } from "../../support/token-map.ts";
import type { TransactionLayer } from "../../transaction/types.ts";
import type { Destination, Flow, TransportLayer } from "../../transport/types.ts";
import type { Admission } from "../admission.ts";
import type { EndedSessions } from "../charges/ended-sessions.ts";
import type { ClientSources } from "../client-source.ts";
import type { Border } from "../dialog/border.ts";
import type { Leg } from "../dialog/leg.ts";
import type { Reach } from "../dialog/reach.ts";
import type { ClientRequest } from "../request/request.ts";
import type { Session } from "../session/session.ts";
import type { Transfer } from "../transfer/transfer.ts";
import type { UserLoads } from "../user-loads.ts";

/** Puts charging events on record: resolves when they are on disk (DESIGN.md, decision 8). */
export interface Recorder {
  append(event: ChargingEvent): Promise<void>;
  /** True when no more may be promised: new sessions are refused. */
  readonly full: boolean;
}

/** Keeps sessions, so that they outlive the process. */
export interface SessionKeeper {
  /** What it is as data has changed, or it stands now. */
  changed(session: Session): void;
  /** It is over, or goes on elsewhere. */
  closed(session: Session): void;
}

/** What the parts of the relay share: the layers below, the registered data, and who is in a call now. */
export interface Core {
  readonly config: Config;
  readonly clock: Clock;
  /** Times of day, for what is put on record. */
  readonly timelines: Timelines;
  readonly random: Random;
  /** This relay's name in the ids of its sessions; "": it shares them with no other. */
  readonly node: string;
  readonly log: Logger;
  /** For whatever a peer can bring about again and again. */
  readonly peerLog: PeerLog;
  /** Where requests come from, also behind proxies; and how many are looked at. */
  readonly sources: ClientSources;
  readonly admission: Admission;
  /** What each user has under way. */
  readonly loads: UserLoads;
  readonly transport: TransportLayer;
  readonly transactions: TransactionLayer;
  readonly directory: Directory;
  readonly authenticator: Authenticator;
  /** For app servers, which sign in with keys of their own (M15). */
  readonly appServerAuthenticator: Authenticator;
  /** Where what belongs to a client's dialog may go. */
  readonly reach: Reach;
  /** Which header fields cross from one leg to the other. */
  readonly border: Border;
  readonly recorder: Recorder;
  /** How long clients are waited for whose connections were of the process before this one. */
  readonly afterRestart: { readonly reconnectS: number };
  /** Undefined: sessions end with the process. */
  readonly kept?: SessionKeeper | undefined;
  /** What it did not take and has to. */
  readonly laterRecords: LaterRecords;
  /** Undefined: INVITEs are not signed. */
  readonly proof?: Proof;
  /** What the books of charges share. */
  readonly keeping: BookKeeping;
  /** Charges outside of a session's own dialog (M15, M17). */
  readonly direct: DirectCharges;
  /** Prepaid balances; undefined: the store has none, and prepaid users cannot call. */
  readonly credit?: CreditStore | undefined;

  /** Those of sessions and what belongs to them, of few durations. */
  readonly timers: TimerQueues;
  /** Who looks on at the actors (P1). */
  readonly inspectors: Set<Inspector>;
  /** The charts with their actions, made once. */
  readonly requestLogic: Chart<typeof requestMachine>;
  readonly sessionLogic: Chart<typeof sessionMachine>;

  readonly transferLogic: Chart<typeof transferMachine>;

  /** Client requests under way, by id. */
  readonly requests: TokenMap<ClientRequest>;
  /** Sessions under way, by id. */
  readonly sessions: TokenMap<Session>;
  /** Sessions that ended and still take charges (M15). */
  readonly ended: EndedSessions;
  /** The halves of sessions, by the tag that the relay put into their dialog: how a message finds its session. */
  readonly legs: TokenMap<Leg>;
  /** Moves by REFER under way, by id; and those whose REFER came outside of a session, by the tag that the relay put into their dialog. */
  readonly transfers: TokenMap<Transfer>;
  readonly transfersByTag: TokenMap<Transfer>;
  /** Legs whose peer is reached by a connection of the peer's own making. */
  readonly legsByFlow: Map<Flow, Set<Leg>>;
  /** Sessions that are over and whose app server has not answered BYE yet: what it charges in its answer still counts (M16). */
  readonly byesUnanswered: Set<Session>;
  /** Ends of sessions on their way to the disk, with the answers that wait for them. */
  readonly ending: Outstanding;
  readonly counters: Counters;
  /** True while the relay takes no new sessions because it is about to stop; and when it is to stop now. */
  draining: boolean;
  hurried: boolean;

  /** Hands over the addresses of a URI, best first, none if there are none; at once where it names an address (RFC 3263). */
  resolve(uri: SipUri, found: (destinations: readonly Destination[]) => void): void;
}

/** What happened since the start. */
export interface Counters {
  requests: number;
  rejected: number;
  cancelled: number;
  /** By app servers, to where the relay has gone on. */
  redirected: number;
  answered: number;
  /** Sessions; one that changes counts once, and each of its changes in `changed`. */
  established: number;
  changed: number;
  /** Changes of service that were answered by a 2xx and did not count, since it named no service. */
  changesUnconfirmed: number;
  ended: number;
  /** Sessions of a process before this one that went on here. */
  restored: number;
  /** Sessions in which whoever hung up did not wait any longer for an answer to BYE. */
  byesUnanswered: number;
  /** Provisional answers that came after so many that the other end heard no more of them. */
  provisionalsLeftOut: number;
  charges: number;
  chargesRefused: number;
  /** Bodies of charges that were to come again later. */
  chargesPutOff: number;
  /** Prepaid: requests refused, and sessions ended, for want of credit. */
  creditRefused: number;
  creditExhausted: number;
  /** App servers that asked by 503 to be left alone for a while. */
  appServerRests: number;
  crashed: number;
  /** Requests of users who had as much under way as they may; and requests of sessions in which too many came. */
  overUserLimit: number;
  overSessionRate: number;
  /** Requests with a To tag of which no session knows; of these without an answer, since too many came from there. */
  strayRequests: number;
  strayRequestsIgnored: number;
  /** Times that the wall clock was set. */
  clockSteps: number;
}
