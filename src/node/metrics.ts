import type { HttpAppServers } from "../app-servers/app-servers.ts";
import type { LabelledMetrics } from "../calls/stats.ts";
import type { Billing } from "../charging/billing/billing.ts";
import type { Journal } from "../charging/journal/journal.ts";
import type { Core } from "../relay/model/core.ts";
import type { ClockWatch } from "../store/clock-watch.ts";
import type { Transactions } from "../transaction/layer.ts";
import type { Transports } from "../transport/layer.ts";
import type { Usage } from "../usage/usage.ts";
import type { Cluster } from "./cluster-ports.ts";
import type { Signing } from "./identity.ts";
import type { Media } from "./media.ts";
import type { SignInLog } from "./sign-in-log.ts";
import type { Telemetry } from "./telemetry.ts";

/** The answer to a monitoring system: everything that the relay counts, and the present values. */
export interface Metrics {
  /** These only grow, since the start. */
  readonly counters: Readonly<Record<string, number>>;
  readonly gauges: Readonly<Record<string, number>>;
  /** Those of requests that have ended, by status, service, app server and node. */
  readonly labelled?: LabelledMetrics;
  /** The node's name; "": the relay is alone. */
  readonly node?: string;
}

/** Collects them from the parts of a relay. */
export function metricsOf(parts: {
  core: Core;
  signInLog: SignInLog;
  transport: Transports;
  transactions: Transactions;
  journal: Journal;
  billing: Billing | undefined;
  clockWatch: ClockWatch;
  cluster: Cluster | undefined;
  httpAppServers: Pick<HttpAppServers, "counters" | "waiting">;
  usage: Usage | undefined;
  telemetry: Telemetry | undefined;
  signing: Signing | undefined;
  media: Media | undefined;
}): Metrics {
  const { core, httpAppServers, signInLog, transport, transactions, journal, billing, cluster } = parts;
  const { differenceMs } = parts.clockWatch;
  const exporter = parts.telemetry?.exporter;
  const { connections, callsRefusedInOverload: overloaded, ...transported } = transport.stats;
  const { pendingEvents, pendingBytes, maxBytes, freeDiskBytes, ...appended } = journal.stats();
  const named = (prefix: string, values: object): [string, number][] =>
    Object.entries(values).map(([name, value]) => [prefix + name[0]!.toUpperCase() + name.slice(1), value]);
  return {
    node: core.node,
    labelled: core.calls.stats.metrics(core.node),
    counters: Object.fromEntries([
      ...Object.entries(core.counters),
      ["overloaded", overloaded],
      ...named("transport", transported),
      ...named("transactions", transactions.stats),
      ...named("journal", appended),
      ...named("billing", billing?.counters ?? {}),
      ...Object.entries(signInLog.counters),
      ...Object.entries(core.strangers.counters),
      ...Object.entries(cluster?.counters() ?? {}),
      ...Object.entries(httpAppServers.counters),
      ...Object.entries(parts.media?.engines.counters ?? {}),
      ...Object.entries(parts.usage?.counters() ?? {}),
      ...(exporter ? [["spansSent", exporter.sent] as const, ["spansDropped", exporter.dropped] as const] : []),
      ["logLinesLeftOut", core.peerLog.leftOut + core.calls.leftOut],
      ["callRecordsLeftOut", core.calls.leftOut],
      ["callRecordsStored", core.calls.stored],
      ["callRecordsLost", core.calls.lost],
    ]),
    gauges: {
      sessions: core.sessions.size,
      callRecordsOpen: core.calls.open,
      requestsUnderWay: core.requests.size,
      transfersUnderWay: core.transfers.size,
      transactions: transactions.size,
      timers: transactions.timersRunning + core.timers.size,
      connections,
      delayMs: transport.longestDelayMs,
      usersWithSessions: core.loads.size,
      contacts: core.bindings.size,
      usersRegistered: core.bindings.users,
      lockedOut: core.authenticator.lockOuts?.().length ?? 0,
      journalPendingEvents: pendingEvents,
      journalPendingBytes: pendingBytes,
      journalMaxBytes: maxBytes,
      ...(freeDiskBytes !== undefined && { journalFreeDiskBytes: freeDiskBytes }),
      journalFull: journal.full ? 1 : 0,
      recordsWaiting: core.laterRecords.size,
      byesUnanswered: core.byesUnanswered.size,
      appServersResting: core.directory.resting,
      appServerEventsWaiting: httpAppServers.waiting,
      draining: core.draining ? 1 : 0,
      ...(transport.certificateDaysLeft !== undefined && { certificateDaysLeft: transport.certificateDaysLeft }),
      ...(parts.signing?.daysLeft !== undefined && { shakenCertificateDaysLeft: parts.signing.daysLeft }),
      ...(parts.media && { rtpenginesDown: parts.media.engines.down }),
      ...cluster?.gauges(),
      ...parts.usage?.gauges(),
      ...(exporter && { spansWaiting: exporter.waiting }),
      ...(differenceMs !== undefined && { storeClockDifferenceMs: differenceMs }),
    },
  };
}
