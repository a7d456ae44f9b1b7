import type { Bus } from "../bus/types.ts";
import type { ChargingEvent } from "../charging/events/events.ts";
import type { NodeRun } from "../cluster/beat.ts";
import { Copies } from "../cluster/copies.ts";
import { Direct } from "../cluster/direct.ts";
import { hearDrain, sendDrain } from "../cluster/drain-order.ts";
import { Fence } from "../cluster/fence.ts";
import { FindingOut } from "../cluster/finding-out.ts";
import { GiveAway } from "../cluster/give-away.ts";
import { HandOver } from "../cluster/hand-over.ts";
import { readFlow } from "../cluster/handed.ts";
import { HandedWays } from "../cluster/handed-ways.ts";
import { Heart, type Load } from "../cluster/heart.ts";
import { Heritage } from "../cluster/heritage.ts";
import { type Copy, Holder } from "../cluster/holder.ts";
import { Leaving } from "../cluster/leaving.ts";
import type { MemberView } from "../cluster/member-view.ts";
import { Members } from "../cluster/members.ts";
import { ownAddress, ownName } from "../cluster/own-address.ts";
import { Restarts } from "../cluster/restarts.ts";
import { Shared } from "../cluster/shared.ts";
import { TakeUp } from "../cluster/take-up.ts";
import { takenBefore } from "../cluster/taken-before.ts";
import { Whose } from "../cluster/whose.ts";
import { Witness } from "../cluster/witness.ts";
import type { Config } from "../config/schema.ts";
import type { Core } from "../relay/model/core.ts";
import type { Recorder } from "../relay/model/ports.ts";
import type { SipMessage } from "../sip/message.ts";
import { busySince } from "../support/busy.ts";
import type { Clock } from "../support/clock.ts";
import type { Logger } from "../support/log.ts";
import type { PeerLog } from "../support/peer-log.ts";
import { version } from "../support/version.ts";
import type { TransportUser } from "../transport/types.ts";
import { countersOf, gaugesOf } from "./cluster-figures.ts";
import type { Cluster, Relayed } from "./cluster-ports.ts";
import { nextEpoch } from "./epoch.ts";
import { CopiedRecorder } from "./keepers.ts";

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
  private readonly restarts: Restarts;
  private readonly finding: FindingOut;
  readonly shared: Shared | undefined;
  private core: Core | undefined;
  private takeUp: TakeUp | undefined;
  private handOver: HandOver | undefined;
  private away: GiveAway | undefined;
  private leaving: Leaving | undefined;
  private deafen: (() => void) | undefined;

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
        host: config.cluster.address ?? ownAddress(config.listen),
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
      identity: { ...self, host: ownName(), zone, release: version() },
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
        has: (run, sessions) => this.restarts.has(run, sessions),
      },
    });
    this.heritage = new Heritage({
      holder: this.holder,
      whose: this.whose,
      others: () => members.others(),
      acts: takes,
      take: (from, left) => this.takeUp?.take(from, left),
    });
    this.restarts = new Restarts({ clock, holder: this.holder, heritage: this.heritage });
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
    const { self, members, witness, whose } = this;
    const { clock, log } = this.options;
    return takenBefore({ self, members, witness, whose, clock, log });
  }

  start({ core, transactions, router }: Relayed, has: readonly string[]): void {
    this.core = core;
    const { keeper, fence } = this;
    if (keeper && fence) {
      const { self, members, mutes } = this;
      const { bus, clock, log, peerLog } = this.options;
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
        ...{ core, clock: this.clock, copies: keeper, handOver: this.handOver },
        given: (session) => this.letGo(session),
        cutOff: () => members.cutOff,
        isTaken: async (session) => {
          const answers = await this.whose.ask(() => members.others());
          return answers?.some(({ sessions }) => sessions.includes(session)) ?? true;
        },
      });
      this.leaving = new Leaving({
        ...{ core, clock, log, fence, keeper, away: this.away },
        hasHeirs: () => this.hasHeirs,
        fallSilent: () => {
          this.heart.fallSilent();
          this.direct?.stop();
        },
      });
      core.refusesNew = () => !this.options.config.cluster.newWithoutNats && members.cutOff;
      this.takeUp = new TakeUp(core, () => this.handOver?.tookUp());
      this.takeUp.restored(core.sessions.allKeys());
      this.whose.start();
      this.holder.start();
      this.whose.have(has);
      keeper.start(core);
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
    this.restarts.stop();
  }

  giveAway(): void {
    this.away?.start();
  }

  get hasHeirs(): boolean {
    return this.keeper !== undefined && this.members.places().length > 0;
  }

  async leaveSessions(): Promise<boolean> {
    return this.leaving?.leaveSessions() ?? false;
  }

  get giving(): "no" | "now" | "done" {
    if (this.away?.busy) return "now";
    return this.away && this.away.count > 0 ? "done" : "no";
  }

  drain(node: string, withinMs: number | undefined): void {
    sendDrain(this.options.bus, { node, withinMs, others: this.members.others() });
  }

  onDrain(drain: (withinMs: number | undefined) => void): void {
    const { bus, log } = this.options;
    this.deafen = hearDrain(bus, this.self.node, (withinMs) => {
      log.warn("cluster: an operator at another node has this one drained");
      drain(withinMs);
    });
  }

  nodes(): MemberView[] {
    return this.members.views();
  }

  counters(): Readonly<Record<string, number>> {
    const { heart, shared, witness, handOver } = this;
    return countersOf({ heart, shared, witness, handOver });
  }

  gauges(): Readonly<Record<string, number>> {
    const { members, holder, keeper, fence, takeUp, away } = this;
    return gaugesOf({ members, holder, keeper, fence, takeUp, away });
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
    this.keeper?.gone(node);
    this.handOver?.gone(node);
    this.restarts.anew({ node, epoch });
  }
}
