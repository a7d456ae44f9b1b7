import type { Ending, Failure, Side } from "../../../machines/events.ts";
import type { SessionContext, sessionMachine } from "../../../machines/session.ts";
import type { Outcome } from "../../charging/charges/book.ts";
import type { PartsState } from "../../charging/charges/book-state.ts";
import { CallCharges } from "../../charging/charges/call-charges.ts";
import { CallParts, type Price } from "../../charging/charges/call-parts.ts";
import { factsProblem } from "../../charging/events/event-fields.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import { newSessionId } from "../../charging/events/session-ids.ts";
import type { Tariff } from "../../charging/money/tariff.ts";
import { ChartActor, type Owner } from "../../chart/actor.ts";
import { withTaxes } from "../../directory/applied-terms.ts";
import type { AppServer, Identified, Service } from "../../directory/types.ts";
import type { SipResponse } from "../../sip/message.ts";
import type { TimerHandle } from "../../support/clock.ts";
import type { Timeline } from "../../support/timeline.ts";
import type { Timer, TimerOwner } from "../../support/timer-queues.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { SessionCharges } from "../charges/charges.ts";
import { meansGone } from "../dialog/outcomes.ts";
import { takeRest } from "../leg/rest.ts";
import type {
  Asking,
  Core,
  CreditPort,
  FormerPart,
  LegPort as Leg,
  Origin,
  ReliablePort,
  RequestPort,
  SessionPort,
  Takeover,
  TransferPort,
  UnderWay,
} from "../model/core.ts";
import { endedByText } from "../model/endings.ts";
import type { SessionState } from "../model/session-state.ts";
import { hangUpAfterFault } from "./hang-up.ts";
import { moved } from "./move.ts";

/**
 * The SIP side of one session: its two legs and what is under way between them. What happens when is the chart's to say
 * (machines/session.ts); relay/actions/session.ts is what the chart's actions do with it.
 */
export class Session implements SessionPort, Owner, TimerOwner<"look" | "bye"> {
  readonly id: string;
  readonly core: Core;
  readonly appServer: AppServer;
  readonly service: Service;
  /** What the rules said, and the Request-URI that they said it of: a change is measured by them. */
  readonly identified: Identified;
  readonly asked: string;
  /** Who signed in; `facts.user` is whose bill it is on. */
  readonly user: string;
  readonly facts: SessionFacts;
  readonly charges: SessionCharges;
  /** A prepaid session's, once an app server has answered. */
  credit: CreditPort | undefined;
  readonly actor: ChartActor<typeof sessionMachine>;
  /** The request that it is a branch of, until it is established or refused. */
  request: RequestPort | undefined;
  /** The INVITE to the app server, while it is under way. */
  invitation: Asking | undefined;
  /** Its reliable provisional answers, from the first on (RFC 3262). */
  reliable: ReliablePort | undefined;
  client: Leg | undefined;
  server: Leg | undefined;
  /** The BYE of whoever hung up, until it is answered, and what the other end said to it. */
  bye: ServerTransaction | undefined;
  byeAnswer: SipResponse | undefined;
  /** The app server has not answered BYE. */
  serverOwes = false;
  /** What becomes of the charges in the app server's own BYE. */
  byeCharges: Promise<Outcome> | undefined;
  /** Why the INVITE is cancelled, for Reason (RFC 3326). */
  cancelReason: string | undefined;
  /** The re-INVITE or UPDATE under way. */
  change: UnderWay | undefined;
  /** The change of service that this part comes of: when it stands, the client's dialog is its own (M20-M22). */
  takesOver: Takeover | undefined;
  /** The part of the session that it has taken over from. */
  successorOf: FormerPart | undefined;
  /** What it has together with other parts of the same call; undefined: there are none so far. */
  private parts: CallParts | undefined;
  private isPart: "not yet" | "running" | "over" = "not yet";
  /**
   * What all of its times are by, from the app server's answer on. One that goes on from another session goes on by
   * that one's.
   */
  timeline: Timeline;
  /** When its greatest duration is over. */
  endsAt = 0;
  /** A move to a second app server under way, by REFER (M23). */
  transfer: TransferPort | undefined;
  closed = false;
  /** It counts among what its user has under way. */
  private counted = false;
  /** Resolves when the start is on record, where the clock runs from the answer. */
  started: Promise<void> | undefined;
  /** Resolves when the end is on record. */
  recorded: Promise<void> = DONE;
  /** Until both ends are looked at again; once BYE is on its way, until nobody waits any longer for its answer. */
  private timer: Timer | undefined;
  private endTimer: TimerHandle;

  /**
   * `request`: the one that it is a branch of; undefined where both ends agree already. `from`: what it goes on from,
   * made elsewhere.
   */
  constructor(
    core: Core,
    origin: Origin,
    appServer: AppServer,
    request: RequestPort | undefined,
    from?: Pick<SessionState, "facts" | "chart">,
  ) {
    this.core = core;
    this.request = request;
    this.appServer = appServer;
    this.id = from?.facts.id ?? newSessionId(core.clock.wall(), core.random, core.node);
    this.identified = origin.identified!;
    this.asked = origin.asked;
    this.user = origin.user;
    const { service, tariff } = this.identified;
    this.service = service;
    this.facts = from?.facts ?? this.factsFor(origin, tariff);
    this.timeline = origin.timeline ?? core.timelines.latest;
    this.charges = new SessionCharges(core, this);
    const { id } = this;
    const { inspectors } = core;
    this.actor = from
      ? new ChartActor(core.sessionLogic, { id, snapshot: from.chart, owner: this, inspectors })
      : new ChartActor(core.sessionLogic, {
          id,
          input: { id, clock: startsAtAck(origin.previous, request) ? "ack" : (service.clock ?? "ack") },
          owner: this,
          inspectors,
        });
  }

  private factsFor(origin: Origin, tariff: Tariff | undefined): SessionFacts {
    const { core, service, appServer } = this;
    const { lateChargesS = core.config.charging.lateChargesS } = service;
    const { previous, credits } = origin;
    const hold = credits?.keyFor(appServer.id);
    const facts: Writable<SessionFacts> = {
      id: this.id,
      user: origin.account,
      service: service.id,
      appServer: appServer.id,
      call: origin.call,
    };
    if (tariff) facts.tariff = tariff;
    let terms = core.directory.terms(service.id, appServer.id);
    if (credits) terms = withTaxes(terms, credits.taxes); // those that the hold counts
    if (terms) facts.terms = terms;
    if (lateChargesS > 0) facts.lateChargesMs = Math.round(lateChargesS * 1000);
    if (previous) facts.previous = previous;
    if (hold !== undefined) facts.hold = hold;
    return facts;
  }

  /** Whether all of it can be billed: else nobody may be asked. It is data of the operator's that is wrong then. */
  get isBillable(): boolean {
    const problem = factsProblem(this.facts);
    if (problem === undefined) return true;
    const { call, user, service, appServer } = this.facts;
    const what = { call, user, service, appServer, problem };
    this.core.peerLog.error("refused: the session could not be billed", user, what);
    return false;
  }

  start(): void {
    this.core.sessions.set(this.id, this);
    this.core.directory.occupy(this.appServer.id);
    this.actor.start();
  }

  get context(): SessionContext {
    return this.actor.getSnapshot().context;
  }

  leg(side: Side): Leg | undefined {
    return side === "client" ? this.client : this.server;
  }

  /** Milliseconds since 1970, by the session's own timeline. */
  now(): number {
    return this.timeline.now();
  }

  /** The app server has taken it. `payload`: its answer. */
  answered(payload: SipResponse | undefined): void {
    const { facts } = this;
    if (!facts.previous) this.timeline = this.core.timelines.current();
    const { stepMs } = this.timeline;
    if (stepMs !== 0) (facts as Writable<SessionFacts>).clockStepMs = stepMs;
    if (!this.counted) this.core.loads.sessionBegan(this.user);
    this.counted = true;
    this.actor.send({ type: "server.answer", at: this.now(), payload });
  }

  /** The request is decided without this branch. `reason`: for the CANCEL (RFC 3326). */
  giveUp(reason?: string): void {
    this.cancelReason ??= reason;
    this.actor.send({ type: "cancel" });
  }

  /** Another branch said 6xx: this one is cancelled, but its success would count (RFC 3261 §16.7, step 5). */
  withdraw(reason: string): void {
    this.cancelReason = reason;
    this.actor.send({ type: "withdraw" });
  }

  /** The client sent BYE in the early dialog of this branch. */
  reportGivenUp(): void {
    const request = this.request;
    if (!request) return;
    this.request = undefined;
    request.decided(this);
    request.credits?.giveBack(this.appServer.id);
    request.actor.send({ type: "branch.released", branch: this.appServer.id });
  }

  /** Ends the session by the relay's own decision, e.g. its greatest duration is over. */
  end(ending: Ending): void {
    this.actor.send({ type: "end", at: this.now(), ending });
  }

  /** Tells the request what became of this branch. */
  reportFailure(failure: Failure): void {
    const request = this.request;
    if (!request) return;
    this.request = undefined;
    request.decided(this);
    request.credits?.giveBack(this.appServer.id);
    const said = this.invitation?.refusal;
    const meaning = said ? request.refusedBy(this.appServer.id, said, failure) : failure;
    if (this.client) request.earlyDialogEnded(this.client, meaning.status);
    request.actor.send({ type: "branch.failed", branch: this.appServer.id, failure: meaning });
  }

  /** The clock runs: from now on both ends are asked now and then whether they are still there. */
  established(at: number): void {
    const { core, takesOver } = this;
    if (!takesOver) core.counters.established++; // a part of a session that changes is no further one
    const move = this.request?.move;
    this.request = undefined;
    this.endsAt = at + core.config.session.maxDurationS * 1000;
    if (this.parts) this.beginPart(); // others went on from it before it stood
    if (move) moved(core, this, move);
    if (takesOver) {
      this.takesOver = undefined;
      takesOver.taken(this, at);
    }
    core.kept?.changed(this);
    this.lookAgain();
  }

  /**
   * Takes over from `state` what it is beside its dialogs and its book, and stands from now on. Nothing is sent until
   * `goOn`.
   */
  takeUp({ endsAt, parts }: SessionState): void {
    const { core } = this;
    this.start();
    core.loads.sessionBegan(this.user);
    this.counted = true;
    this.endsAt = endsAt;
    core.kept?.changed(this); // the numbers that are skipped are not skipped twice
    if (!parts) return;
    const beside = parts.beside.map((id) => core.sessions.get(id)?.partsIfAny).find((one) => one !== undefined);
    const { previous } = this.facts;
    // Others that go on from a session that is over have their limits together with it, and are yet to come.
    const before = previous && core.ended.callOf(previous.session);
    const charges = beside?.charges ?? before ?? new CallCharges(parts.ended);
    this.isOf(new CallParts(charges, parts));
    this.isPart = parts.isPart;
    if (parts.isPart !== "not yet") this.charges.joins(charges);
  }

  /** Goes on with what another process began: both ends are asked at once whether they are still there. */
  goOn(): void {
    this.credit?.goOn();
    if (this.closed || this.actor.getSnapshot().value === "answered") return; // it waits for its ACK, and is looked at from then on
    this.lookAgain();
    for (const leg of [this.client, this.server])
      if (leg && (leg.stranded || this.core.config.session.probeS > 0)) this.probe(leg);
  }

  /** What it has together with other parts of the same call; undefined: there are none so far. */
  get partsIfAny(): CallParts | undefined {
    return this.parts;
  }

  /** What it has together with others of its call, as data; undefined: nothing. */
  get partsState(): PartsState | undefined {
    const { parts, isPart } = this;
    if (!parts) return undefined;
    const { sessions } = this.core;
    const kept = new Set<string>();
    for (const id of parts.charges.sessions) {
      const session = sessions.get(id);
      if (!session) continue;
      kept.add(id);
      for (let book = session.charges.before; book; book = book.before) kept.add(book.facts.id);
    }
    const beside = [...parts.charges.sessions].filter((id) => id !== this.id && sessions.get(id));
    const ended = parts.charges.sumsWithout((id) => kept.has(id));
    const costs = parts.costState;
    return { beside, ended, tariffs: parts.usedTariffs, isPart, ...(costs.length > 0 && { costs }) };
  }

  /** What it is for the others of its call has changed. */
  private partChanged(): void {
    const { kept, sessions } = this.core;
    if (!kept || !this.parts) return;
    for (const id of this.parts.charges.sessions) {
      const session = sessions.get(id);
      if (session) kept.changed(session);
    }
  }

  /** Forgets it here without a word: it goes on elsewhere, from its `SessionState`. */
  release(): void {
    const { clock, sessions, directory, loads, timers } = this.core;
    timers.stop(this.timer);
    clock.clearTimeout(this.endTimer);
    this.reliable?.stop();
    this.invitation?.close();
    this.client?.release();
    this.server?.release();
    this.credit?.release();
    this.closed = true;
    if (this.counted) loads.sessionEnded(this.user);
    this.counted = false;
    if (sessions.delete(this.id)) directory.release(this.appServer.id);
  }

  /**
   * BYE is on its way, and whoever hung up waits: until its own timer F would be too long, and costs the client its
   * time (RFC 3261 §17.1.2, RFC 4320 §4.2). No end is looked at any more: a later request would overtake a BYE that
   * is lost and sent again, which is refused then (RFC 3261 §12.2.2).
   */
  awaitByeAnswer(): void {
    const { timers, config } = this.core;
    timers.stop(this.timer);
    this.timer = timers.start(this, "bye", config.session.byeAnswerS * 1000);
  }

  timerFired(name: "look" | "bye"): void {
    if (name === "bye") {
      this.core.counters.byesUnanswered++;
      this.actor.send({ type: "bye.late", at: this.now() });
    } else this.look();
  }

  /** Now and then: are both ends still there, and is the greatest duration over before the next look? */
  private look(): void {
    if (this.core.config.session.probeS > 0) {
      if (this.client) this.probe(this.client);
      if (this.server) this.probe(this.server);
    }
    this.lookAgain();
  }

  /** What it has together with other parts of the same call, for one that is to come. */
  get callParts(): CallParts {
    if (this.parts) return this.parts;
    const parts = this.isOf(new CallParts());
    if (this.context.startedAt !== null) this.beginPart();
    return parts;
  }

  /** What the parts cost that the client's dialog has had before. */
  get costsBefore(): Price[] {
    return this.parts?.costs() ?? [];
  }

  /** At `at` it is the next part of the call in the place of `first` (M20-M22). */
  follows(first: SessionPort, at: number): void {
    const parts = this.isOf(first.callParts);
    first.endPart(at);
    parts.wentOn(first.facts, at - (first.context.startedAt ?? at));
    this.beginPart();
  }

  /**
   * The client has moved to it from `first`: the two have limits together, and each its own set-up fee and free
   * seconds (M23, M24).
   */
  isBeside(first: SessionPort): void {
    this.isOf(new CallParts(first.callParts.charges));
    this.beginPart();
  }

  /** It is one of those that have this together, whether it has begun or not. */
  private isOf(parts: CallParts): CallParts {
    this.parts = parts;
    parts.charges.sessions.add(this.id);
    return parts;
  }

  private beginPart(): void {
    const { parts } = this;
    if (!parts || this.isPart !== "not yet") return;
    this.isPart = "running";
    const facts = this.facts as Writable<SessionFacts>;
    const used = parts.begin(facts.tariff);
    if (used) facts.used = used;
    this.charges.joins(parts.charges);
    this.core.ended.joins(this.id, parts.charges);
    this.partChanged();
  }

  /** It is over at `at`: what it did not use of the free seconds is the next part's. */
  endPart(at: number): void {
    if (this.isPart !== "running") return;
    this.isPart = "over";
    const { startedAt, endedAt, byeAt } = this.context;
    const { tariff, used } = this.facts;
    this.parts!.end(tariff, used, (endedAt ?? byeAt ?? at) - (startedAt ?? at));
    this.partChanged();
  }

  /** Takes a dialog of the part before over. */
  takeOver(first: SessionPort, side: Side): void {
    const leg = first.leg(side);
    if (!leg) return;
    leg.session = this;
    if (side === "client") [this.client, first.client] = [leg, undefined];
    else [this.server, first.server] = [leg, undefined];
  }

  /**
   * Asks one end whether it is still in the session: OPTIONS inside the dialog, which changes nothing (RFC 3261 §11).
   */
  probe(leg: Leg): void {
    const { moves } = leg;
    // Of a peer that has moved since, what is sent to where it was says nothing.
    const gone = (why: string) => leg.moves === moves && leg.session.lost(leg.side, why);
    // A process that goes on with what another began waits longer: a client may notice late that its connection is
    // gone.
    const { reconnectS } = leg.unheardSince === undefined ? this.core.config.session : this.core.afterRestart;
    leg.send(leg.request("OPTIONS"), {
      final: (response) => {
        if (leg.side === "server") takeRest(this.core, this.appServer, response);
        if (!meansGone(response.status)) leg.unheardSince = undefined;
        if (meansGone(response.status)) gone(`answered ${response.status} to a probe`);
        else if (leg.moves === moves) leg.returned();
      },
      timeout: () => gone("no answer to a probe"),
      transportError: (why) => {
        // Clients that move close one connection and open another (RFC 5626 §4.5).
        if (leg.stranded && reconnectS > 0 && !leg.session.closed) leg.awaitReturn(reconnectS * 1000, () => gone(why));
        else gone(why);
      },
    });
  }

  lost(side: Side, detail: string): void {
    if (!this.core.sessions.has(this.id)) return; // An answer to a probe that came after the end.
    const at = this.leg(side)?.unheardSince ?? this.now();
    this.actor.send({ type: "lost", side, at, detail });
  }

  close(): void {
    const { clock, sessions, directory } = this.core;
    this.core.timers.stop(this.timer);
    clock.clearTimeout(this.endTimer);
    this.change?.abort();
    this.takesOver?.dropped(this);
    this.reliable?.stop();
    this.invitation?.close();
    this.client?.close();
    this.server?.close();
    void this.credit?.close(this.context.startedAt !== null);
    this.closed = true;
    if (this.counted) this.core.loads.sessionEnded(this.user);
    this.counted = false;
    this.partChanged();
    this.core.kept?.closed(this);
    if (this.serverOwes) this.core.byesUnanswered.add(this);
    if (sessions.delete(this.id)) directory.release(this.appServer.id);
  }

  private lookAgain(): void {
    const { clock, timers, config } = this.core;
    const { probeS } = config.session;
    const lookMs = probeS > 0 ? probeS * 1000 : NO_PROBE_LOOK_MS;
    this.timer = timers.start(this, "look", lookMs);
    const leftMs = this.endsAt - this.now();
    if (leftMs > lookMs) return;
    // Only now a timer of its own: few sessions last that long.
    clock.clearTimeout(this.endTimer);
    this.endTimer = clock.setTimeout(() => this.end({ code: "max-duration" }), Math.max(0, leftMs));
  }

  /** A fault of ours ends this one session, and closes what it charges (decision 13). */
  crashed(error: unknown): void {
    this.core.counters.crashed++;
    const { call, user } = this.facts;
    this.core.peerLog.error("session failed by a fault of the relay", user, { call, session: this.id, err: error });
    const context = this.context;
    const now = this.now();
    if (context.startedAt !== null)
      this.core.ending.add(this.charges.ended(context.startedAt, context.byeAt ?? now, endedByText("fault")));
    hangUpAfterFault(this);
    this.reportFailure({ status: 500 });
    this.close();
  }
}

/**
 * A part takes over when the client has agreed to it, and so does a session that the relay invites the client to (M23).
 */
const startsAtAck = (previous: Origin["previous"], request: RequestPort | undefined): boolean =>
  previous?.by === "change" || request?.move?.clientLeg !== undefined;

type Writable<T> = { -readonly [K in keyof T]: T[K] };

const DONE = Promise.resolve();

/** How often a session is looked at that nobody probes. */
const NO_PROBE_LOOK_MS = 600_000;
