import { CallRecords, type CallRecordsOptions } from "../calls/records.ts";
import type { BillingStore } from "../charging/billing/store.ts";
import type { BookKeeping } from "../charging/charges/book.ts";
import { DayLedger } from "../charging/charges/day-ledger.ts";
import { DirectCharges, type DirectChargesOptions } from "../charging/charges/direct.ts";
import { LaterRecords } from "../charging/events/later-records.ts";
import { PortalLimits } from "../charging/money/portal-limits.ts";
import { Strangers } from "../directory/strangers.ts";
import { Bindings } from "../registrar/bindings.ts";
import { requestLogic } from "../relay/actions/request.ts";
import { sessionLogic } from "../relay/actions/session.ts";
import { Admission, type AdmissionElsewhere } from "../relay/admission/admission.ts";
import { ClientSources } from "../relay/admission/client-source.ts";
import { type LoadsElsewhere, type UserLimits, UserLoads } from "../relay/admission/user-loads.ts";
import { EndedSessions } from "../relay/charges/ended-sessions.ts";
import { type CostsOfSession, costOfSession } from "../relay/charges/record-cost.ts";
import { Border } from "../relay/dialog/border.ts";
import { Reach } from "../relay/dialog/reach.ts";
import { OtherFlows } from "../relay/leg/other-flows.ts";
import type { Core } from "../relay/model/core.ts";
import { transferLogic } from "../relay/transfer/transfer.ts";
import { Outstanding } from "../support/outstanding.ts";
import { PeerLog } from "../support/peer-log.ts";
import { CLOCK_WAS_SET, Timelines } from "../support/timeline.ts";
import { TimerQueues } from "../support/timer-queues.ts";
import { TokenMap } from "../support/token-map.ts";
import type { Destination } from "../transport/types.ts";

/** The parts that a core is made of. Its other fields begin empty. */
export type CoreParts = Pick<
  Core,
  | "config"
  | "clock"
  | "random"
  | "log"
  | "transport"
  | "transactions"
  | "directory"
  | "authenticator"
  | "appServerAuthenticator"
  | "recorder"
  | "credit"
  | "resolve"
  | "proof"
  | "attest"
  | "media"
  | "kept"
> & {
  readonly billing: BillingStore;
  /** The addresses for SIP; default: those of the configuration, in which a port may be 0. */
  readonly listening?: () => readonly Pick<Destination, "address" | "port">[];
  /** Default: a new one. */
  readonly peerLog?: PeerLog;
  /** Default: new ones, who hear of no refused sign-in. */
  readonly strangers?: Strangers;
  /** Default: the relay is alone. */
  readonly node?: string;
  /**
   * The present time on the first timeline of the earlier process whose sessions go on; default: there is none.
   */
  readonly firstNow?: number | undefined;
  /** Default: there are no other nodes that keep the same limits. */
  readonly admissionElsewhere?: AdmissionElsewhere | undefined;
  readonly loadsElsewhere?: LoadsElsewhere | undefined;
  /** Where records of requests go; default: only into the log. */
  readonly recordsTo?: Pick<CallRecordsOptions, "store" | "publish" | "traced">;
} & Pick<DirectChargesOptions, "caughtUp" | "elsewhere">;

/** How much one user may have under way at once. */
export const userLimits = ({ limits }: Pick<Core["config"], "limits">): UserLimits => ({
  ringing: limits.ringingPerUser,
  sessions: limits.sessionsPerUser,
});

export function createCore({
  billing,
  listening,
  caughtUp,
  elsewhere,
  firstNow,
  admissionElsewhere,
  loadsElsewhere,
  node = "",
  recordsTo,
  ...parts
}: CoreParts): Core {
  const requests: Core["requests"] = new TokenMap();
  const sessions: Core["sessions"] = new TokenMap();
  const transfers: Core["transfers"] = new TokenMap();
  const counters: Core["counters"] = {
    requests: 0,
    rejected: 0,
    cancelled: 0,
    redirected: 0,
    answered: 0,
    established: 0,
    changed: 0,
    changesUnconfirmed: 0,
    ended: 0,
    restored: 0,
    byesUnanswered: 0,
    provisionalsLeftOut: 0,
    charges: 0,
    chargesRefused: 0,
    chargesPutOff: 0,
    creditRefused: 0,
    creditExhausted: 0,
    appServerRests: 0,
    crashed: 0,
    overUserLimit: 0,
    overSessionRate: 0,
    strayRequests: 0,
    strayRequestsIgnored: 0,
    registers: 0,
    registersRefused: 0,
    clockSteps: 0,
  };
  const { clock, config, directory, log, recorder, peerLog = new PeerLog({ log, clock }) } = parts;
  const stepped = (byMs: number) => {
    counters.clockSteps++;
    log.warn({ byMs }, CLOCK_WAS_SET);
  };
  const timelines = new Timelines(clock, stepped, firstNow);
  const keeping: BookKeeping = {
    recorder,
    clock,
    timelines,
    log,
    peerLog,
    counters,
    chargesPerSession: config.limits.chargesPerSession,
    days: new DayLedger(billing, { caughtUp }),
    terms: (service, appServer) => directory.terms(service, appServer),
    portal: new PortalLimits(config.charging.limits),
  };
  const ended = new EndedSessions({ keeping, counters, peerLog });
  const local: DirectChargesOptions["local"] = (id) => {
    const session = sessions.get(id);
    if (!session) return ended.find(id);
    if (session.context.startedAt === null) return { appServer: session.facts.appServer };
    return { book: session.charges.book, dueAt: null };
  };
  const bindings = new Bindings({ perUser: config.limits.contactsPerUser, all: config.limits.contacts });
  return {
    ...parts,
    node,
    bindings,
    otherFlows: new OtherFlows(bindings, clock),
    border: new Border(config),
    reach: new Reach(parts, config, listening),
    peerLog,
    calls: new CallRecords({
      clock,
      timelines,
      random: parts.random,
      log,
      settings: config.calls,
      ...recordsTo,
      costOf: ({ costs }) => costOfSession(costs as CostsOfSession),
    }),
    sources: new ClientSources(config.trustedProxies, config.tls.trustedNames),
    admission: new Admission(
      clock,
      config.limits.perSourcePerSecond,
      config.limits.perUnprovenSourcePerSecond,
      admissionElsewhere,
    ),
    strangers: parts.strangers ?? new Strangers(config.strangers, clock, peerLog),
    loads: new UserLoads(userLimits(config), loadsElsewhere),
    timelines,
    afterRestart: { reconnectS: config.recovery === "end" ? 0 : config.recovery.reconnectS },
    keeping,
    laterRecords: new LaterRecords({ clock, log }),
    direct: new DirectCharges({
      keeping,
      local,
      billing,
      directory,
      caughtUp,
      node,
      elsewhere,
      alone: config.bus === undefined,
    }),
    timers: new TimerQueues(clock, (error) => peerLog.error("session timer failed", "", { err: error })),
    inspectors: new Set(),
    requestLogic: requestLogic(),
    sessionLogic: sessionLogic(),
    transferLogic: transferLogic(),
    requests,
    sessions,
    ended,
    transfers,
    transfersByTag: new TokenMap(),
    legs: new TokenMap(),
    legsByFlow: new Map(),
    byesUnanswered: new Set(),
    ending: new Outstanding(),
    counters,
    draining: false,
    hurried: false,
  };
}
