import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { HttpAppServers } from "../app-servers/app-servers.ts";
import { openBus } from "../bus/open.ts";
import type { Bus } from "../bus/types.ts";
import type { CallRecord } from "../calls/record.ts";
import { startBilling } from "../charging/billing/billing.ts";
import type { ChargingEvent } from "../charging/events/events.ts";
import { CaughtUp } from "../charging/journal/caught-up.ts";
import { openJournal } from "../charging/journal/journal.ts";
import type { Config } from "../config/schema.ts";
import { appServerAuthenticator } from "../directory/app-server-keys.ts";
import { createAuthenticator } from "../directory/authenticator.ts";
import { createDirectory } from "../directory/directory.ts";
import { linphoneSettings, provisionedUser } from "../directory/provisioning.ts";
import { Strangers } from "../directory/strangers.ts";
import { contained, failed } from "../relay/model/contained.ts";
import type { Core } from "../relay/model/core.ts";
import { Router } from "../relay/router.ts";
import type { SipUri } from "../sip/uri.ts";
import { openWatchedStore } from "../store/clock-watch.ts";
import { type Clock, systemClock, within } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import { PeerLog } from "../support/peer-log.ts";
import { type Random, systemRandom } from "../support/random.ts";
import { sourceKey } from "../support/source.ts";
import { Traces } from "../trace/traces.ts";
import { createTransactionLayer } from "../transaction/layer.ts";
import { createTransportLayer, type Tap } from "../transport/layer.ts";
import { Resolver } from "../transport/resolve.ts";
import { type Destination, TRANSPORTS } from "../transport/types.ts";
import { ActsElsewhere, answerAction, nodesAround, othersOf } from "./acts.ts";
import { createCore, userLimits } from "./assemble.ts";
import { ChartCounts } from "./chart-counts.ts";
import { joinCluster } from "./cluster.ts";
import type { Cluster } from "./cluster-ports.ts";
import { emptied, endAll, endBlocked, endOne } from "./draining.ts";
import { Everywhere, livingOthers } from "./everywhere.ts";
import { HealthChecks } from "./health.ts";
import { Signing } from "./identity.ts";
import { together } from "./keepers.ts";
import { KeptContacts } from "./kept-contacts.ts";
import { KeptSessions, readKept } from "./kept-sessions.ts";
import { liveRecords } from "./live-records.ts";
import { openMedia } from "./media.ts";
import { metricsOf } from "./metrics.ts";
import { nodeNameIn } from "./node-name.ts";
import { answerRelay, askRelay } from "./other-relays.ts";
import { endedOf, endLeft, endOrphans, Heartbeat } from "./recovery.ts";
import { Registrations } from "./registrations.ts";
import type { Relay } from "./relay-port.ts";
import { viewsAfter, viewsOf } from "./session-view.ts";
import { SessionsBefore } from "./sessions-before.ts";
import { SignInLog } from "./sign-in-log.ts";
import { startTelemetry } from "./telemetry.ts";
import { TracesAround } from "./traces-around.ts";
import { TracesHere } from "./traces-here.ts";
import { startUsageOf, USAGE } from "./usage.ts";
import { linesOf, RelayWatch, WatchedRecorder } from "./watch.ts";
import { WatchAround } from "./watch-around.ts";

export type { Metrics } from "./metrics.ts";
export type { Relay } from "./relay-port.ts";

/** Starts a relay by its configuration. Rejects when an address is taken or the data folder cannot be used. */
export async function startRelay(options: {
  readonly config: Config;
  readonly log: Logger;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Sees every message that comes or goes. */
  readonly tap?: Tap;
}): Promise<Relay> {
  const { config, log, clock = systemClock, random = systemRandom } = options;
  const signing = Signing.of(config, clock, log);
  if (signing && !config.http.listen)
    log.warn(
      { url: signing.key.x5u },
      "identity: http.listen is not set; the public key must be published there by others",
    );
  const { store, clockWatch } = await openWatchedStore(config, { clock, log });
  const shared = config.bus !== undefined; // others may bill from it
  const bills = config.roles.includes("billing");
  const sendsUsage = bills && config.usage.length > 0;
  const expects = sendsUsage ? ["billing", USAGE] : [];
  const bus = await openBus({ settings: config.bus, clock, log, expects });
  const path = join(config.data, "journal");
  let cluster: Cluster | undefined;
  const published = (events: readonly ChargingEvent[]) => cluster?.published(events);
  const journal = await openJournal({ path, bus, clock, log, published, trackRunning: shared, ...config.journal });
  const { keepEvents } = config.charging;
  let watch: RelayWatch | undefined;
  const moved = () => watch?.sawAccount;
  const closed = async (error: unknown) => {
    // Otherwise their timers and sockets would keep the process from ending.
    await journal.close();
    await bus.close();
    throw error;
  };
  const usage = sendsUsage ? await startUsageOf(config, { bus, store, clock, log }).catch(closed) : undefined;
  const billing = bills
    ? await startBilling({ store, bus, clock, log, keepEvents, retention: config.retention, moved }).catch(
        async (error) => {
          await usage?.stop();
          return closed(error);
        },
      )
    : undefined;
  const node = shared ? nodeNameIn(config.data, random) : "";
  const telemetry = await startTelemetry(config, { node, clock, log }).catch(async (error) => {
    await billing?.stop();
    await usage?.stop();
    return closed(error);
  });
  const handled = async () => {
    await journal.settled();
    await bus.handled?.("billing", CAUGHT_UP_MS);
  };
  const caughtUp = new CaughtUp({ handled, clock, withinMs: CAUGHT_UP_MS });
  const heartbeat = new Heartbeat(config.data, clock);
  const { lastBeatAt } = heartbeat;
  const keeper = new KeptSessions(() => journal.keepSoon());
  const { recovery } = config;
  const before = new SessionsBefore({ found: readKept(journal.kept()), keeper, recovery, heartbeat, log });
  journal.accompany(keeper);
  const peerLog = new PeerLog({ log, clock });
  const goesOnElsewhere = (session: string) => keeper.goesOnElsewhere(session);
  if (shared) cluster = joinCluster({ bus, node, config, clock, log, peerLog, goesOnElsewhere });
  const left = new Set(journal.left.map(({ session }) => session.id));
  await before.leaveOut(async (ids) =>
    shared ? new Set(ids.filter((id) => !left.has(id))) : endedOf(ids, journal, store.billing),
  );
  const present = new Set([...left, ...before.goingOn]);
  const taken = present.size > 0 ? await cluster?.takenBefore() : undefined;
  const elsewhere = new Set([...present].filter((id) => taken?.has(id)));
  before.elsewhere(elsewhere);
  const goingOn = new Set([...before.goingOn, ...elsewhere]);
  const { heardUntil } = before;
  await (shared
    ? endLeft({ journal, lastBeatAt, log, goingOn, heardUntil })
    : endOrphans({ journal, billing: store.billing, lastBeatAt, log, goingOn, heardUntil }));
  const directory = await createDirectory({ config, store, clock, log });
  const keysOf = (appServer: string) => directory.keysOf(appServer);
  const signInLog = new SignInLog(peerLog);
  const strangers = new Strangers(config.strangers, clock, peerLog);
  const httpAppServers = new HttpAppServers({
    config,
    log,
    identity: signing && (() => signing.key),
    cluster: nodesAround(node, bus, cluster),
  });
  const transport = createTransportLayer({
    listen: config.listen,
    clock,
    log,
    peerLog,
    ...(cluster && { mutes: () => cluster.mutes(), muted: (bytes, send) => cluster.sendLater(bytes, send) }),
    tls: config.tls,
    trustedProxies: config.trustedProxies,
    ...(config.webSocket.origins && { origins: config.webSocket.origins }),
    inside: httpAppServers,
    bounds: {
      messageBytes: config.limits.messageBytes,
      headers: config.limits.headers,
      maxConnections: config.limits.connections,
      maxOutgoing: config.limits.connectionsOut,
      maxConnectionsPerAddress: config.limits.connectionsPerSource,
      handshakesPerSecond: config.limits.handshakesPerSecond,
      mayWaitMs: config.limits.mayWaitMs,
      pingMs: config.webSocket.pingS * 1000,
      firstMessageMs: config.limits.firstMessageS * 1000,
      stalledMs: config.limits.stalledS * 1000,
      queueBytes: config.limits.queueBytes,
    },
    ...(options.tap && { tap: options.tap }),
  });
  // What acts for sessions waits while other nodes may have taken them up.
  const sessionClock = cluster?.clock ?? clock;
  const transactions = createTransactionLayer({
    transport,
    clock: sessionClock,
    random,
    log,
    peerLog,
    timers: config.timers,
    bounds: { maxTransactions: config.limits.transactions },
  });
  const media = openMedia(config, { clock: sessionClock, random, log, peerLog });
  const resolver = new Resolver({ transports: TRANSPORTS, clock, random });

  const shares = cluster?.shared;
  const nonces = (realm: string) => shares?.nonces.realm(realm);
  const [userNonces, appServerNonces] = [nonces("users"), nonces("app servers")];
  const recorder = new WatchedRecorder(cluster?.recording(journal) ?? journal);
  const core: Core = createCore({
    config,
    clock: sessionClock,
    random,
    log,
    peerLog,
    transport,
    transactions,
    directory,
    authenticator: createAuthenticator({
      directory,
      settings: { ...config.authentication, ...config.portal },
      clock,
      secret: randomBytes(32),
      ...userNonces,
      guessesElsewhere: shares?.lockOuts.elsewhere,
      refused: (refusal) => {
        signInLog.user(refusal);
        strangers.refused(refusal);
      },
    }),
    appServerAuthenticator: appServerAuthenticator({
      config,
      directory,
      clock,
      nonces: appServerNonces,
      refused: signInLog.appServer,
    }),
    strangers,
    recorder,
    kept: together([recovery === "end" ? undefined : keeper, cluster?.keeper]),
    firstNow: before.firstNow,
    admissionElsewhere: shares?.admission(config.limits),
    loadsElsewhere: shares?.loads.keep(userLimits(config)),
    recordsTo: { store: store.calls, publish: callsTo(bus, config), traced: telemetry?.traced },
    ...signing?.signers(random),
    media: media?.relay,
    billing: store.billing,
    listening: () => transport.listening,
    credit: store.credit,
    node,
    caughtUp: () => caughtUp.ask(),
    elsewhere: (...question) => askRelay({ bus, random, keysOf }, ...question),
    resolve: (uri, found) => resolveWith(resolver, uri, found, (work) => void contained(core, work)),
  });
  userNonces?.answerBy((use) => core.authenticator.useNonce?.(use) ?? false);
  appServerNonces?.answerBy((use) => core.appServerAuthenticator.useNonce?.(use) ?? false);
  shares?.attach(core);
  httpAppServers.attach(core, () => transport.secureClient);
  keeper.attach(core);
  const registrations = new Registrations(core);
  const contacts = new KeptContacts({ store: store.bindings, clock, peerLog });
  await contacts.restore(core.bindings); // before the sessions, whose app servers may be among them
  before.restore(core);
  heartbeat.start(core.timelines.first);
  core.timelines.watch();
  clockWatch.watch();
  const traces = new Traces((viewer) => watching.watch(viewer));
  const tracesHere = new TracesHere(traces, () => clock.wall());
  const act = (...asked: Parameters<HttpAppServers["act"]>) => httpAppServers.act(...asked);
  const everywhere = new Everywhere({
    ...{ node, bus, clock, random, peerLog },
    others: () => livingOthers(cluster?.nodes() ?? []),
    here: {
      sessions: (after, most) => viewsAfter(core.sessions.values(), after, most),
      endSession: (id) => endOne(core, id),
      present: (query) => core.calls.present(query, liveRecords(core)),
      calls: (query, elsewhere) => core.calls.find(query, liveRecords(core), elsewhere),
      story: (call) => {
        const story = traces.storyOf(call) ?? watching.storyOf(call);
        return story && linesOf(story);
      },
      traces: tracesHere,
      metrics: () => metrics(),
    },
  });
  if (shared)
    bus.answer?.(
      node,
      async (question) =>
        everywhere.answer(question) ??
        (await answerAction({ act, keysOf, clock }, question)) ??
        answerRelay({ direct: core.direct, keysOf }, question),
    );
  const acts = new ActsElsewhere({ act, bus, clock, random, keysOf, others: () => othersOf(node, cluster) });
  const router = new Router(core);
  transactions.attach(router);
  const watching = new RelayWatch(core, transport, recorder, config.calls.messages);
  watch = watching;
  const around = shared
    ? new WatchAround({
        ...{ node, bus, clock, peerLog, newId: () => random.token() },
        watch: (viewer) => watching.watch(viewer),
      })
    : undefined;
  watching.start();
  const chartCounts = new ChartCounts(core, clock);
  transport.attach(cluster?.before(transactions) ?? transactions);
  const health = new HealthChecks(core);
  const onClosing: (() => Promise<void>)[] = [];
  const closeStores = async () => {
    await Promise.allSettled(onClosing.map((fn) => fn()));
    await httpAppServers.close();
    health.stop();
    signing?.close();
    registrations.stop();
    await contacts.close();
    core.timelines.close();
    clockWatch.close();
    directory.close();
    heartbeat.stop();
    cluster?.leave();
    await transport.close();
    transactions.close();
    media?.close();
    await core.calls.close();
    await telemetry?.exporter.close();
    traces.close();
    around?.stop();
    watching.stop();
    chartCounts.stop();
    peerLog.close();
    core.timers.close();
    await core.laterRecords.close();
    await within(clock, DRAIN_JOURNAL_MS, journal.drained());
    await billing?.stop();
    await usage?.stop();
    await journal.close();
    await bus.close();
    await store.close();
  };
  try {
    await transport.start();
  } catch (error) {
    await closeStores();
    throw error;
  }
  health.start();
  signing?.watch();
  registrations.start();
  // What was found on disk either goes on here, or has ended here.
  cluster?.start({ core, transactions, router }, [
    ...core.sessions.allKeys(),
    ...[...present].filter((id) => !elsewhere.has(id)),
  ]);
  around?.start();
  before.goOn(core);
  httpAppServers.goOn();
  directory.whenLoaded(() => endBlocked(core));
  const metrics = () =>
    metricsOf({
      ...{ core, signInLog, transport, transactions, journal, billing, clockWatch, cluster, httpAppServers },
      ...{ usage, telemetry, signing, media },
    });
  let closing: Promise<void> | undefined;
  return {
    addresses: transport.listening,
    counters: core.counters,
    get identity() {
      return signing?.published;
    },
    registrations: (user) => registrations.views(user),
    unregister: (user) => registrations.remove(user),
    metrics,
    lockOuts: () => core.authenticator.lockOuts?.() ?? [],
    liftLockOuts: (which) => {
      const { source } = which;
      const lifted = core.authenticator.lift?.({
        ...which,
        ...(source !== undefined && { source: sourceKey(source) }),
      });
      log.warn({ ...which, lifted }, "sign-in: lock-outs were lifted");
      return lifted ?? 0;
    },
    sessions: () => viewsOf(core.sessions.values()),
    endSession: (id) => endOne(core, id),
    everywhere,
    appServers: () => directory.serverStates(),
    token: (name) => directory.token(name),
    provision: (token) => {
      const user = config.provisioning && provisionedUser(token, (id) => directory.user(id), clock.wall());
      return user && linphoneSettings(user, config.portal.domains[0]!, config.provisioning!);
    },
    store,
    inspectors: core.inspectors,
    chartCounts: () => chartCounts.view(),
    watch: { watch: (viewer) => watching.watch(viewer), around: (...asked) => around?.watch(...asked) },
    traces: new TracesAround(tracesHere, everywhere),
    calls: (query) => core.calls.find(query, liveRecords(core)),
    nodes: () => cluster?.nodes() ?? [],
    usage: async () => usage?.status() ?? [],
    drainNode: (other, withinMs) => {
      if (!cluster) throw new Error("this relay is alone: nodes of a cluster share a NATS server (bus)");
      cluster.drain(other, withinMs);
    },
    onDrain: (drain) => cluster?.onDrain(drain),
    failed: (error) => failed(core, error),
    charging: {
      direct: core.direct,
      appServerKey: (id) => directory.appServerKey(id),
      token: (name) => directory.token(name),
      ratesElsewhere: (perSecond) => shares?.rates.rate("reports of charges", perSecond),
      keysElsewhere: shares?.keys,
    },
    act: (...asked) => acts.act(...asked),
    onClosing: (fn) => void onClosing.push(fn),
    reload: (next) => {
      transport.reloadCertificates();
      signing?.reload();
      return directory.reload(next);
    },
    close: async ({ drainMs }) => {
      core.draining = true;
      if (drainMs === 0) {
        core.hurried = true;
        // In a cluster the other nodes go on with what is left.
        if (!cluster?.hasHeirs) endAll(core);
      }
      cluster?.giveAway();
      closing ??= emptied({ core, clock, drainMs, cluster }).then(closeStores);
      await closing;
    },
  };
}

const DRAIN_JOURNAL_MS = 5_000;
/** How long a charge for a session that is not here waits until billing has taken what was recorded. */
const CAUGHT_UP_MS = 2_000;

/** Tells others what became of requests, where there are others and the operator wants it. */
function callsTo(bus: Bus, { calls }: Config): ((records: readonly CallRecord[]) => void) | undefined {
  if (!calls.publish || !bus.tellCalls) return undefined;
  return (records) => void bus.tellCalls?.(records);
}

function resolveWith(
  resolver: Resolver,
  uri: SipUri,
  found: (destinations: readonly Destination[]) => void,
  contain: (work: Promise<unknown>) => void,
): void {
  const resolved = resolver.resolve(uri);
  if (resolved instanceof Promise) contain(resolved.then((later) => found(later.ok ? later.value : [])));
  else found(resolved.ok ? resolved.value : []);
}
