import { hostname, networkInterfaces } from "node:os";
import type { Bus } from "../bus/types.ts";
import type { ChargingEvent } from "../charging/events/events.ts";
import type { NodeRun } from "../cluster/beat.ts";
import { Copies } from "../cluster/copies.ts";
import { Direct } from "../cluster/direct.ts";
import { Fence } from "../cluster/fence.ts";
import { FindingOut, LISTEN_MS } from "../cluster/finding-out.ts";
import { GiveAway } from "../cluster/give-away.ts";
import { HandOver } from "../cluster/hand-over.ts";
import { readFlow } from "../cluster/handed.ts";
import { HandedWays } from "../cluster/handed-ways.ts";
import { Heart, type Load } from "../cluster/heart.ts";
import { Heritage } from "../cluster/heritage.ts";
import { type Copy, Holder } from "../cluster/holder.ts";
import type { MemberView } from "../cluster/member-view.ts";
import { Members } from "../cluster/members.ts";
import { Shared } from "../cluster/shared.ts";
import { TakeUp } from "../cluster/take-up.ts";
import { Whose } from "../cluster/whose.ts";
import { Witness } from "../cluster/witness.ts";
import type { Config } from "../config/schema.ts";
import type { Core, SessionKeeper } from "../relay/model/core.ts";
import type { Recorder } from "../relay/model/ports.ts";
import type { Router } from "../relay/router.ts";
import type { SipMessage } from "../sip/message.ts";
import { busySince } from "../support/busy.ts";
import { type Clock, pause, within } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { version } from "../support/version.ts";
import type { TransportUser } from "../transport/types.ts";
import { nextEpoch } from "./epoch.ts";
import { CopiedRecorder } from "./keepers.ts";

/** How long a node that starts waits for the others' answers. A node that is up answers within some milliseconds. */
const ANSWERS_MS = 2_000;
/** How often it looks for those that have called it dead. */
const CLAIMERS_MS = 200;
/** How long a node that stops waits for its last copies to lie at their standbys. */
const LAST_COPIES_MS = 2_000;
const POLL_MS = 10;
/** A node that was started anew says within this time which sessions it goes on with; else the others take them up. */
const HAVE_WITHIN_MS = 5_000;

/** This node among the others that share its bus (P3). */
export interface Cluster {
  /** Undefined: no copies of this node's sessions are kept. */
  readonly keeper: SessionKeeper | undefined;
  /** What holds for all nodes together; undefined: each node stands for itself. */
  readonly shared: Shared | undefined;
  /** For all that acts for sessions: its timers wait while others may have taken the sessions up. */
  readonly clock: Clock;
  /** Whether nothing may be sent now, for the same reason. */
  mutes(): boolean;
  /** Sends it when that is over, unless others have taken something up. */
  sendLater(bytes: number, send: () => void): void;
  /** Passes on what comes, except in that time. */
  before(user: TransportUser): TransportUser;
  /** Wraps the recorder, so that what it records is also at a standby. */
  recording(recorder: Recorder): Recorder;
  /** The bus has taken these events. */
  published(events: readonly ChargingEvent[]): void;
  /** For a node that starts: which sessions of its run before have others taken up? */
  takenBefore(): Promise<ReadonlySet<string>>;
  /**
   * From now on this node hears the other nodes, and they hear this node. `has`: the sessions of its run before that go
   * on, or have ended, here. Others take up what else that run had.
   */
  start(relay: Relayed, has: readonly string[]): void;
  /** This node is about to stop: its sessions go to other nodes, one by one. */
  giveAway(): void;
  /** Whether sessions are on their way to other nodes, or were given to them since the start. */
  readonly giving: "no" | "now" | "done";
  /** Whether other nodes would go on with the sessions of this one. */
  readonly hasHeirs: boolean;
  /**
   * What is left here goes on at the other nodes, which take it up as if this node had died; nothing is sent from here
   * any more. False: there is no node that has copies, and nothing was done.
   */
  leaveSessions(): Promise<boolean>;
  /** Has another node drained. Throws where there is none of that name. */
  drain(node: string, withinMs: number | undefined): void;
  /** Called when another node has this one drained. */
  onDrain(drain: (withinMs: number | undefined) => void): void;
  /** Tells the other nodes that this node leaves, so that they do not call it dead. */
  leave(): void;
  /** All nodes, as they are seen from here. */
  nodes(): MemberView[];
  gauges(): Readonly<Record<string, number>>;
  counters(): Readonly<Record<string, number>>;
}

/** The parts of the relay that the cluster needs. */
export interface Relayed {
  readonly core: Core;
  readonly transactions: TransportUser;
  readonly router: Pick<Router, "knows">;
}

/** Throws if the data folder cannot be written. Nothing is sent before `takenBefore` or `start`. */
export function joinCluster(options: {
  readonly bus: Pick<Bus, "tell" | "hear" | "keys" | "renew" | "records">;
  readonly node: string;
  readonly config: Pick<Config, "data" | "cluster" | "charging" | "listen">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly peerLog: PeerLog;
  /** A session of this node goes on at another one: nothing of it is to be left on disk. */
  readonly goesOnElsewhere: (session: string) => void;
  /** False: beats go over the bus alone; default true. */
  readonly direct?: boolean;
}): Cluster {
  return new ClusterNode(options);
}

class ClusterNode implements Cluster {
  readonly clock: Clock;
  readonly mutes: () => boolean;
  readonly keeper: Copies | undefined;
  private readonly options: Parameters<typeof joinCluster>[0];
  private readonly self: NodeRun;
  private readonly members: Members;
  private readonly witness: Witness | undefined;
  private readonly heart: Heart;
  private readonly direct: Direct | undefined;
  private readonly holder: Holder;
  private readonly fence: Fence | undefined;
  private readonly whose: Whose;
  private readonly heritage: Heritage;
  private readonly finding: FindingOut;
  readonly shared: Shared | undefined;
  private core: Core | undefined;
  private takeUp: TakeUp | undefined;
  private handOver: HandOver | undefined;
  private away: GiveAway | undefined;
  private deafen: (() => void) | undefined;
  private readonly unread = new Map<string, () => void>();

  constructor(options: Parameters<typeof joinCluster>[0]) {
    const { bus, node, config, clock, log, peerLog } = options;
    const { zone = "", standbys } = config.cluster;
    this.options = options;
    this.self = { node, epoch: nextEpoch(config.data, clock.wall()) };
    const { self } = this;
    const takes = () => this.fence?.open ?? true;
    const given = (copy: Copy, from: NodeRun, flow: string) => this.given(copy, from, flow);
    this.holder = new Holder({ node, bus, clock, peerLog, takes, given });
    this.witness =
      standbys && config.cluster.witness && bus.records
        ? new Witness({
            ...{ self, log, records: bus.records, now: () => clock.monotonic() },
            listener: {
              dead: (run) => this.members.dead(run),
              taken: () => {
                if (!this.fence?.shutNow) log.warn("cluster: other nodes have called this one dead");
                this.fence?.close();
              },
              wrote: () => this.members.reckon(),
            },
          })
        : undefined;
    this.members = new Members({
      ...{ self, clock, log, peerLog, witness: this.witness },
      mostPatienceMs: config.cluster.patienceMs,
      deathsOf: (run) => this.finding.deathsOf(run),
      listener: {
        calledDead: (by, deaths) => this.finding.calledDead(by, deaths),
        misses: () => this.heart.sayNow(),
        safe: () => this.finding.safe(),
        joined: () => this.keeper?.joined(),
        died: (beat) => this.died(beat),
        restarted: (before) => this.restarted(before),
        left: (beat) => {
          this.keeper?.gone(beat.node);
          this.handOver?.gone(beat.node);
          this.heritage.forget(beat.node);
        },
        together: (silentMs) => this.finding.together(silentMs),
        confirmed: () => this.finding.confirmed(),
      },
    });
    const { members } = this;
    const directly = (): Direct =>
      new Direct({
        host: config.cluster.address ?? hostOf(config.listen),
        log,
        peerLog,
        keys: (purpose) => bus.keys?.(purpose) ?? [],
        peers: () => members.direct(),
        deaths: (other) => this.finding.deathsOf(members.runOf(other)),
        heard: (beat, told) => members.heardDirectly(beat, told),
        refused: (other) => members.refused(other),
        comesFrom: (other, address) => members.comesFrom(other, address),
      });
    this.direct = options.direct === false ? undefined : directly();
    this.keeper = standbys
      ? new Copies({ self, zone, bus, clock, peerLog, places: () => members.places(), mutes: () => !takes() })
      : undefined;
    this.fence = standbys
      ? new Fence({ clock, log, until: () => members.safeUntil, about: () => members.why() })
      : undefined;
    this.clock = this.fence?.clockBehind() ?? clock;
    this.mutes = this.fence?.mutes ?? (() => false);
    this.shared = config.cluster.shared ? new Shared({ self, bus, clock, peerLog, peers: members }) : undefined;
    const host = hostname()
      .replace(/[^\x20-\x7e]/g, "?")
      .slice(0, 100);
    const busy = busySince();
    const load = (): Load => ({
      state: this.core?.draining ? "draining" : "up",
      sessions: this.core?.sessions.size ?? 0,
      requests: this.core?.requests.size ?? 0,
      standbys: this.holder.size,
      lagMs: this.keeper?.lagMs ?? 0,
      busy: Math.round(busy() * 100),
    });
    const { direct } = this;
    this.heart = new Heart({
      bus,
      clock,
      identity: { ...self, host, zone, release: version() },
      load,
      members,
      direct,
    });
    this.whose = new Whose({
      self,
      bus,
      clock,
      log,
      peerLog,
      known: {
        taken: () => [
          ...(this.takeUp?.all.filter((session) => !this.away?.gives(session)) ?? []),
          ...(takes() ? (this.core?.sessions.allKeys() ?? []) : []),
        ],
        left: (run, asker) => {
          if (run.node === node) return this.core?.sessions.allKeys() ?? [];
          // Of two that may both have old copies one must take the session up.
          return this.heritage.isDoubtful(run.node) && asker < node ? [] : this.holder.sessionsOf(run);
        },
        deaths: (run) => this.finding.deathsOf(run),
        cannotSay: (other) => this.witness?.isClaiming(other) ?? false,
        has: (run, sessions) => this.has(run, sessions),
      },
    });
    this.heritage = new Heritage({
      holder: this.holder,
      whose: this.whose,
      others: () => members.others(),
      acts: takes,
      take: (from, left) => this.takeUp?.take(from, left),
    });
    const { whose, fence, heritage, keeper, witness } = this;
    this.finding = new FindingOut({
      ...{ members, witness, whose, fence, heritage, keeper, clock, log },
      core: () => this.core,
      letGo: (session) => this.letGo(session),
    });
  }

  before(user: TransportUser): TransportUser {
    const behind = this.fence?.before(user) ?? user;
    return {
      received: (message, flow) => behind.received(message, flow),
      malformed: (error, flow) => behind.malformed(error, flow),
      flowFailed: (flow, reason) => {
        this.handOver?.flowFailed(flow);
        behind.flowFailed(flow, reason);
      },
    };
  }

  sendLater(bytes: number, send: () => void): void {
    this.fence?.sendLater(bytes, send);
  }

  recording(recorder: Recorder): Recorder {
    const { keeper } = this;
    if (!keeper) return recorder;
    return new CopiedRecorder(recorder, keeper, this.options.config.charging.durable !== "disk");
  }

  published(events: readonly ChargingEvent[]): void {
    this.keeper?.events.published(events);
  }

  async takenBefore(): Promise<ReadonlySet<string>> {
    if (!this.keeper) return new Set();
    this.heart.listen();
    this.whose.start();
    await this.claimersAreThere();
    const answers =
      (await this.whose.ask(() => this.members.others(), { withinMs: ANSWERS_MS, afterMs: LISTEN_MS })) ?? [];
    return new Set(answers.flatMap(({ sessions }) => sessions));
  }

  /** Others have called the run before dead, and may act for its sessions: each of them is heard, or dead itself. */
  private async claimersAreThere(): Promise<void> {
    const { witness, members } = this;
    const { clock, log } = this.options;
    const seen = new Set([this.self.node, ...((await witness?.claimers()) ?? [])]);
    let missed = [...seen];
    for (let tries = 0; witness; tries++) {
      const left: string[] = [];
      for (const node of missed) {
        if (node === this.self.node || members.others().includes(node)) continue;
        const heirs = await witness.heirsOf(node);
        left.push(...(heirs?.filter((heir) => !seen.has(heir)) ?? [node]));
        for (const heir of heirs ?? []) seen.add(heir);
      }
      missed = left;
      if (missed.length === 0) return;
      if (tries === 1) log.warn({ nodes: missed }, "cluster: nodes that may have this one's sessions are not heard");
      await pause(clock, CLAIMERS_MS);
    }
  }

  start({ core, transactions, router }: Relayed, has: readonly string[]): void {
    this.core = core;
    if (this.keeper) {
      const { self, members, mutes } = this;
      const { bus, clock, peerLog } = this.options;
      const knows = (message: SipMessage) => router.knows(message);
      const busy = () => (this.takeUp?.busy ?? false) || this.heritage.busy || (this.away?.busy ?? false);
      this.handOver = new HandOver({
        ...{ self, clock, peerLog, mutes },
        sendLater: (bytes, send) => this.sendLater(bytes, send),
        bus: new HandedWays(bus, this.direct, members),
        others: () => members.others(),
        contactFor: (flow) => core.transport.contactFor(flow),
        here: { user: this.before(transactions), knows, busy },
      });
      this.handOver.start();
      core.others = this.handOver;
      this.shared?.contacts.uses(this.handOver);
      this.shared?.flows.uses(core, this.handOver, mutes);
      this.away = new GiveAway({
        ...{ core, clock: this.clock, copies: this.keeper, handOver: this.handOver },
        given: (session) => this.letGo(session),
        isTaken: async (session) => {
          const answers = await this.whose.ask(() => members.others());
          return answers?.some(({ sessions }) => sessions.includes(session)) ?? true;
        },
      });
      core.refusesNew = () => !this.options.config.cluster.newWithoutNats && members.cutOff;
      this.takeUp = new TakeUp(core, () => this.handOver?.tookUp());
      this.takeUp.restored(core.sessions.allKeys());
      this.whose.start();
      this.holder.start();
      this.whose.have(has);
      this.keeper.start(core);
    }
    this.direct?.start();
    this.heart.start();
    this.shared?.start();
  }

  leave(): void {
    this.shared?.stop();
    this.heart.stop();
    this.direct?.stop();
    this.keeper?.stop();
    this.holder.stop();
    this.whose.stop();
    this.handOver?.stop();
    this.takeUp?.stop();
    this.away?.stop();
    this.deafen?.();
    for (const forget of this.unread.values()) forget();
  }

  giveAway(): void {
    this.away?.start();
  }

  get hasHeirs(): boolean {
    return this.keeper !== undefined && this.members.places().length > 0;
  }

  async leaveSessions(): Promise<boolean> {
    const { core, fence } = this;
    const { log } = this.options;
    if (!core || !fence) return false;
    // A node that must be silent has lost its sessions already, or finds out when it starts again.
    if (fence.open) {
      if (!this.hasHeirs) return false;
      await this.lastCopies(core, fence);
      if (fence.open && !this.hasHeirs) {
        fence.resume();
        return false;
      }
    }
    log.warn({ sessions: core.sessions.size }, "cluster: this node stops, and leaves its sessions to the other nodes");
    fence.close();
    this.heart.fallSilent();
    this.direct?.stop();
    return true;
  }

  /** What is on its way to other nodes arrives. Then nothing is begun any more, and they get all as it is. */
  private async lastCopies(core: Core, fence: Fence): Promise<void> {
    const { keeper, away } = this;
    const { clock } = this.options;
    const lateAt = clock.monotonic() + LAST_COPIES_MS;
    const until = async (isSo: () => boolean) => {
      while (!isSo() && clock.monotonic() < lateAt) await pause(clock, POLL_MS);
    };
    away?.pause();
    await until(() => !away?.busy);
    fence.end();
    const { sessions, ending } = core;
    const settled = Promise.allSettled([
      ...sessions.values().map(({ charges }) => charges.settled()),
      ending.settled(),
    ]);
    await within(clock, lateAt - clock.monotonic(), settled);
    keeper?.avoidLeaving();
    for (const session of sessions.values()) keeper?.changed(session);
    await until(() => keeper?.idle ?? true);
  }

  get giving(): "no" | "now" | "done" {
    if (this.away?.busy) return "now";
    return this.away && this.away.count > 0 ? "done" : "no";
  }

  drain(node: string, withinMs: number | undefined): void {
    const names = this.members.others();
    if (!names.includes(node))
      throw new Error(`there is no other node ${node}; there are ${names.join(", ") || "none"}`);
    this.options.bus.tell?.(drainTopic(node), `1 ${withinMs ?? "-"}`);
  }

  onDrain(drain: (withinMs: number | undefined) => void): void {
    this.deafen = this.options.bus.hear?.(drainTopic(this.self.node), (text) => {
      const found = /^1 (-|\d{1,9})$/.exec(text);
      if (!found) return;
      this.options.log.warn("cluster: an operator at another node has this one drained");
      drain(found[1] === "-" ? undefined : Number(found[1]));
    });
  }

  nodes(): MemberView[] {
    return this.members.views();
  }

  counters(): Readonly<Record<string, number>> {
    const { handed = 0, taken = 0, unknown = 0 } = this.handOver?.stats ?? {};
    const { renewed: clusterBusRenewed } = this.heart;
    return {
      ...this.shared?.counters(),
      clusterBusRenewed,
      ...(this.witness && { clusterWitnessFailures: this.witness.failures }),
      clusterHanded: handed,
      clusterTaken: taken,
      clusterUnknown: unknown,
    };
  }

  gauges(): Readonly<Record<string, number>> {
    const { members, holder, keeper, fence, takeUp } = this;
    return {
      clusterNodesUp: members.up,
      clusterCutOff: members.cutOff ? 1 : 0,
      clusterPatienceMs: members.patienceMs,
      clusterMissed: members.missed,
      clusterStandbys: holder.size,
      ...(keeper && {
        clusterCopied: keeper.size,
        clusterWithoutStandby: keeper.withoutStandby,
        clusterLagMs: keeper.lagMs,
        clusterCopiesLate: keeper.late,
        clusterEventsCopied: keeper.events.size,
      }),
      ...(takeUp && { clusterTakenUp: takeUp.taken, clusterGivenAway: this.away?.count ?? 0 }),
      ...(fence && { clusterSilent: fence.open ? 0 : 1, clusterSilences: fence.stats.shut }),
    };
  }

  /** A node that drains gives a session to this one. */
  private given(copy: Copy, from: NodeRun, flow: string): boolean {
    const facts = readFlow(flow);
    return this.takeUp?.takeGiven(copy, from, facts && this.handOver?.flowOf(from, facts)) ?? false;
  }

  /** A session goes on at another node. */
  private letGo(session: string): void {
    this.takeUp?.letGo(session);
    this.options.goesOnElsewhere(session);
  }

  private died({ node, epoch }: NodeRun): void {
    const run = { node, epoch };
    this.finding.died(run);
    this.keeper?.gone(node);
    this.handOver?.gone(node);
    this.heritage.died(run);
  }

  /** The node goes on with what it has on disk. If it never says what that is, it is asked. */
  private restarted({ node, epoch }: NodeRun): void {
    const { clock } = this.options;
    this.keeper?.gone(node);
    this.handOver?.gone(node);
    this.unread.get(node)?.();
    const timer = clock.setTimeout(() => {
      this.unread.delete(node);
      this.heritage.whenSure({ node, epoch });
    }, HAVE_WITHIN_MS);
    this.unread.set(node, () => clock.clearTimeout(timer));
  }

  private has(run: NodeRun, sessions: ReadonlySet<string>): void {
    this.unread.get(run.node)?.();
    this.unread.delete(run.node);
    const before = this.holder.runOf(run.node);
    if (before && before.epoch < run.epoch) this.heritage.died(before, sessions);
  }
}

/** The address by which other nodes reach this one: one that it listens on, or else one that the machine has. */
function hostOf(listen: Config["listen"]): string {
  const own = listen.map(({ address }) => address).find((address) => address !== "0.0.0.0" && address !== "::");
  if (own !== undefined) return own;
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.find(({ internal, family }) => !internal && family === "IPv4")?.address ?? "127.0.0.1";
}

const drainTopic = (node: string): string => `drain-${node}`;
