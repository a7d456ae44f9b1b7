import type { Ending, Failure, Side } from "../../../machines/events.ts";
import type { SessionContext, sessionMachine } from "../../../machines/session.ts";
import { FAULT, type OpenBranch, type OpenRecord } from "../../calls/open-record.ts";
import type { PartsState } from "../../charging/charges/book-state.ts";
import { CallParts, type Price } from "../../charging/charges/call-parts.ts";
import { factsProblem } from "../../charging/events/event-fields.ts";
import type { SessionFacts } from "../../charging/events/events.ts";
import { newSessionId } from "../../charging/events/session-ids.ts";
import type { Tariff } from "../../charging/money/tariff.ts";
import { ChartActor, type Owner } from "../../chart/actor.ts";
import { withTaxes } from "../../directory/applied-terms.ts";
import type { AppServer, Identified, Service } from "../../directory/types.ts";
import type { SipResponse } from "../../sip/message.ts";
import type { Random } from "../../support/random.ts";
import type { Timeline } from "../../support/timeline.ts";
import { SessionCharges } from "../charges/charges.ts";
import type { CostsOfSession } from "../charges/record-cost.ts";
import { SessionIdentity } from "../dialog/session-id.ts";
import type { Core, CreditPort, LegPort as Leg, RequestPort, SessionPort, Takeover } from "../model/core.ts";
import { endedByText } from "../model/endings.ts";
import { ofSession } from "../model/log-facts.ts";
import type { Asking, FormerPart, MediaPort, Origin, ReliablePort, TransferPort, UnderWay } from "../model/ports.ts";
import type { SessionState } from "../model/session-state.ts";
import { HangUp, lastSignOf } from "./hang-up.ts";
import { moved } from "./move.ts";
import { PartOfCall } from "./part.ts";
import { Watch } from "./watch.ts";

/**
 * The SIP side of one session: its two legs, and what is under way between them. The chart (machines/session.ts) says
 * what happens when; relay/actions/session.ts holds what its actions do.
 */
export class Session implements SessionPort, Owner {
  readonly id: string;
  readonly core: Core;
  readonly appServer: AppServer;
  readonly service: Service;
  /** What the rules said, and of which Request-URI. A change of service is compared with both. */
  readonly identified: Identified;
  readonly asked: string;
  /** Who signed in. The session is on the bill of `facts.user`. */
  readonly user: string;
  readonly caller: Side;
  readonly facts: SessionFacts;
  readonly charges: SessionCharges;
  /** The credit of a prepaid session, once an app server has answered. */
  credit: CreditPort | undefined;
  readonly actor: ChartActor<typeof sessionMachine>;
  /** The request of which this session is a branch, until it is established or refused. */
  request: RequestPort | undefined;
  /** The INVITE to the app server, while it is under way. */
  invitation: Asking | undefined;
  /** The app server's reliable provisional answers, from the first on (RFC 3262). */
  reliable: ReliablePort | undefined;
  client: Leg | undefined;
  server: Leg | undefined;
  /** Its media, where a media relay is in their path. */
  media: MediaPort | undefined;
  /** Why the INVITE is cancelled, for the header field Reason (RFC 3326). */
  cancelReason: string | undefined;
  /** The re-INVITE or UPDATE under way. */
  change: UnderWay | undefined;
  /** The change of service that made this part. When the part stands, it has the client's dialog (M20-M22). */
  takesOver: Takeover | undefined;
  /** The part of the session from which this one has taken over. */
  successorOf: FormerPart | undefined;
  /** Its place among the other parts of the same call; undefined: there are none so far. */
  private part: PartOfCall | undefined;
  /**
   * All of its times are by this timeline, from the app server's answer on. A session that goes on from another one
   * keeps the timeline of that one.
   */
  timeline: Timeline;
  /** When its greatest duration is over, by its timeline. */
  endsAt = 0;
  /** The move to a second app server that is under way, by REFER (M23). */
  transfer: TransferPort | undefined;
  closed = false;
  /** Whether it is counted among the sessions of its user. */
  private counted = false;
  /** Resolves when the start is on record; only where the clock runs from the answer. */
  started: Promise<void> | undefined;
  /** Looks at both ends while it stands. A branch that is refused has none. */
  private watching: Watch | undefined;
  /** How it is hung up. Made when the first end hangs up. */
  private hangsUp: HangUp | undefined;
  /** The record of the request, and what it says of this session, while that is under way. */
  record: OpenRecord | undefined;
  branch: OpenBranch | undefined;
  identity: SessionIdentity | undefined;

  /**
   * `request`: the request of which it is a branch; undefined where both ends have agreed already. `from`: the state
   * from which it goes on, if it was begun elsewhere.
   */
  constructor(
    core: Core,
    origin: Origin,
    appServer: AppServer,
    request: RequestPort | undefined,
    from?: Pick<SessionState, "facts" | "chart" | "answer">,
  ) {
    this.core = core;
    this.request = request;
    this.appServer = appServer;
    this.id = from?.facts.id ?? newSessionId(core.clock.wall(), core.random, core.node);
    this.identified = origin.identified!;
    this.asked = origin.asked;
    this.user = origin.user;
    this.caller = request?.calls ? "server" : (from?.answer?.caller ?? "client");
    const { service, tariff } = this.identified;
    this.service = service;
    this.facts = from?.facts ?? this.factsFor(origin, tariff);
    this.timeline = origin.timeline ?? core.timelines.latest;
    this.record = origin.record;
    this.identity = core.config.correlation.sessionId ? identityFor(request, core.random) : undefined;
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
    if (credits) terms = withTaxes(terms, credits.taxes); // the hold counts these taxes
    if (terms) facts.terms = terms;
    if (lateChargesS > 0) facts.lateChargesMs = Math.round(lateChargesS * 1000);
    if (previous) facts.previous = previous;
    if (hold !== undefined) facts.hold = hold;
    return facts;
  }

  /** Whether all of it can be billed. If not, the operator's data are wrong, and no app server may be asked. */
  get isBillable(): boolean {
    const problem = factsProblem(this.facts);
    if (problem === undefined) return true;
    const { user, service, appServer } = this.facts;
    const what = { ...ofSession(this), service, appServer, problem };
    this.core.peerLog.error("refused: the session could not be billed", user, what);
    return false;
  }

  start(): void {
    this.core.sessions.set(this.id, this);
    this.core.directory.occupy(this.appServer.id);
    this.branch = this.record?.asks(this.appServer.id, this.id);
    this.actor.start();
  }

  get context(): SessionContext {
    return this.actor.getSnapshot().context;
  }

  /** How it is hung up, whoever sends BYE. */
  get hangUp(): HangUp {
    this.hangsUp ??= new HangUp(this);
    return this.hangsUp;
  }

  private get watch(): Watch {
    this.watching ??= new Watch(this);
    return this.watching;
  }

  leg(side: Side): Leg | undefined {
    return side === "client" ? this.client : this.server;
  }

  /** From now on this is its dialog with that end. */
  take(leg: Leg): void {
    if (leg.side === "client") this.client = leg;
    else this.server = leg;
  }

  /** The app server is being asked. */
  asks(invitation: Asking): void {
    this.invitation = invitation;
    const leg = this.server ?? this.request?.change?.first.server; // a change is asked for within the present dialog
    if (leg) this.branch?.sent(leg.dialog.callId);
  }

  answersReliably(reliable: ReliablePort): void {
    this.reliable = reliable;
  }

  takesMedia(media: MediaPort): void {
    this.media = media;
  }

  /** From now on this is what it holds in the user's balance. */
  pays(credit: CreditPort): void {
    this.credit = credit;
  }

  /** Its start is on its way to the disk. The answer to the client waits for that. */
  startsWith(recorded: Promise<void>): void {
    this.started = recorded;
  }

  /** It will take over from another part as soon as it stands. */
  comesOf(takeover: Takeover): void {
    this.takesOver = takeover;
  }

  beginChange(change: UnderWay): void {
    this.change = change;
  }

  /** The change is over. Does nothing if another one is under way by now. */
  endChange(change: UnderWay): void {
    if (this.change === change) this.change = undefined;
  }

  beginMove(transfer: TransferPort): void {
    this.transfer = transfer;
  }

  endMove(transfer: TransferPort): void {
    if (this.transfer === transfer) this.transfer = undefined;
  }

  /** Milliseconds since 1970, by the session's own timeline. */
  now(): number {
    return this.timeline.now();
  }

  /** The app server has accepted. `payload`: its answer. */
  answered(payload: SipResponse | undefined): void {
    const { facts } = this;
    if (!facts.previous) this.timeline = this.core.timelines.current();
    const { stepMs } = this.timeline;
    if (stepMs !== 0) (facts as Writable<SessionFacts>).clockStepMs = stepMs;
    if (!this.counted) this.core.loads.sessionBegan(this.user);
    this.counted = true;
    if (payload) this.branch?.said(payload);
    this.record?.stands();
    if (this.caller === "client") this.actor.send({ type: "server.answer", at: this.now(), payload });
    else this.actor.send({ type: "server.answer", at: this.now(), payload, invited: "client" });
  }

  /** The request is decided without this branch. `reason`: for the CANCEL (RFC 3326). */
  giveUp(reason?: string): void {
    this.cancelReason ??= reason;
    this.branch?.because("cancelled");
    this.actor.send({ type: "cancel" });
  }

  /** Another branch said 6xx: this one is cancelled, but its success would count (RFC 3261 §16.7, step 5). */
  withdraw(reason: string): void {
    this.cancelReason = reason;
    this.branch?.because("withdrawn");
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

  /** The relay itself ends the session, for example because its greatest duration is over. */
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
    if (said) this.branch?.said(said);
    const meaning = said ? request.refusedBy(this.appServer.id, said, failure) : failure;
    if (this.client) request.earlyDialogEnded(this.client, meaning.status);
    request.actor.send({ type: "branch.failed", branch: this.appServer.id, failure: meaning });
  }

  /** The clock runs. From now on both ends are asked now and then whether they are still there. */
  established(at: number): void {
    const { core, takesOver } = this;
    if (!takesOver) core.counters.established++; // the next part of a session is no further session
    const move = this.request?.move;
    this.request = undefined;
    this.endsAt = at + core.config.session.maxDurationS * 1000;
    this.beginPart(); // others went on from it before it stood
    if (move) moved(core, this, move);
    if (takesOver) {
      this.takesOver = undefined;
      takesOver.taken(this, at);
    }
    core.kept?.changed(this);
    this.watch.lookAgain();
  }

  /**
   * Takes from `state` all but its dialogs and its book, which others restore. From now on the session stands. Nothing
   * is sent before `goOn`.
   */
  takeUp({ endsAt, parts, client, server }: SessionState): void {
    const { core, facts } = this;
    this.start();
    const record = core.calls.resume(client.callId);
    this.record = record;
    record.isOf(facts.call, this.user, facts.service, this.identified.rule);
    this.branch = record.asks(this.appServer.id, this.id);
    this.branch.sent(server.callId);
    record.letGo(); // the session alone holds it
    core.loads.sessionBegan(this.user);
    this.counted = true;
    this.endsAt = endsAt;
    core.kept?.changed(this); // so that CSeqs that were skipped once are not skipped again
    if (parts) this.part = PartOfCall.restored(this, parts);
  }

  /** Goes on with what another process began. Both ends are asked at once whether they are still there. */
  goOn(): void {
    this.credit?.goOn();
    // In `answered` it waits for its ACK, and looks at its ends after that.
    if (this.closed || this.actor.getSnapshot().value === "answered") return;
    this.watch.goOn();
  }

  /** What it has together with other parts of the same call; undefined: there are none so far. */
  get partsIfAny(): CallParts | undefined {
    return this.part?.parts;
  }

  /** The same, as data. */
  get partsState(): PartsState | undefined {
    return this.part?.state;
  }

  /** Forgets the session here and tells nobody: it goes on elsewhere, from its `SessionState`. */
  release(): void {
    const { sessions, directory, loads } = this.core;
    this.watching?.stop();
    this.reliable?.stop();
    this.invitation?.close();
    this.client?.release();
    this.server?.release();
    this.media?.release();
    this.credit?.release();
    this.closed = true;
    if (this.counted) loads.sessionEnded(this.user);
    this.counted = false;
    this.branch?.record.goesElsewhere();
    this.branch = undefined;
    if (sessions.delete(this.id)) directory.release(this.appServer.id);
  }

  /** BYE is on its way. A timer ends the wait for its answer. */
  awaitByeAnswer(): void {
    this.watch.awaitByeAnswer();
  }

  /** What it has together with other parts of the same call, for a part that is to come. */
  get callParts(): CallParts {
    if (this.part) return this.part.parts;
    this.part = new PartOfCall(this, new CallParts());
    if (this.context.startedAt !== null) this.beginPart();
    return this.part.parts;
  }

  /** What the earlier parts in the client's dialog cost. */
  get costsBefore(): Price[] {
    return this.part?.parts.costs() ?? [];
  }

  /**
   * At `at` it takes the place of `first` as the next part of the call (M20-M22). From now on it has the client's
   * dialog, and the app server's too if that stays.
   */
  succeed(first: SessionPort, at: number, keepsServer: boolean): void {
    const { facts, context, callParts, endsAt } = first;
    this.takeOver(first, "client");
    if (keepsServer) this.takeOver(first, "server");
    if (keepsServer) this.identity = first.identity;
    if (first.media) this.media ??= first.media.share();
    const startedAt = context.startedAt ?? at;
    this.successorOf = { facts, startedAt, book: keepsServer ? first.charges.bookIfAny : undefined };
    this.endsAt = endsAt;
    this.part = new PartOfCall(this, callParts);
    first.endPart(at);
    callParts.wentOn(facts, at - startedAt);
    this.beginPart();
  }

  private takeOver(first: SessionPort, side: Side): void {
    const leg = first.giveAway(side);
    if (!leg) return;
    leg.session = this;
    this.take(leg);
  }

  /** Gives the dialog with this end to the next part of the call. */
  giveAway(side: Side): Leg | undefined {
    const leg = this.leg(side);
    if (side === "client") this.client = undefined;
    else this.server = undefined;
    return leg;
  }

  /**
   * The client has moved here from `first`. Both sessions share their limits; each has its own set-up fee and free
   * seconds (M23, M24).
   */
  isBeside(first: SessionPort): void {
    this.part = new PartOfCall(this, new CallParts(first.callParts.charges));
    this.beginPart();
  }

  private beginPart(): void {
    const used = this.part?.begin();
    if (used) (this.facts as Writable<SessionFacts>).used = used;
  }

  /** This part of the call ended at `at`. */
  endPart(at: number): void {
    this.part?.end(at);
  }

  /** Asks one end whether it is still in the session. */
  probe(leg: Leg): void {
    this.watch.probe(leg);
  }

  timerChanged(): void {
    if (!this.watching) return; // it is not established: all of it is looked at when it is
    this.watching.timerChanged();
    this.core.kept?.changed(this);
  }

  /** The user pays for no time after the last sign of life of an end that has vanished. */
  lost(side: Side, detail: string): void {
    if (!this.core.sessions.has(this.id)) return; // an answer to a probe came after the end
    const now = this.now();
    const { startedAt } = this.context;
    const at = Math.max(lastSignOf(this.leg(side), now), startedAt ?? now);
    this.actor.send({ type: "lost", side, at: Math.min(at, now), detail });
  }

  close(context = this.context): void {
    const { sessions, directory } = this.core;
    this.watching?.stop();
    this.change?.abort();
    this.takesOver?.dropped(this);
    this.reliable?.stop();
    this.invitation?.close();
    this.client?.close();
    this.server?.close();
    this.media?.close();
    void this.credit?.close(this.context.startedAt !== null);
    this.closed = true;
    if (this.counted) this.core.loads.sessionEnded(this.user);
    this.counted = false;
    this.part?.changed();
    this.core.kept?.closed(this);
    if (this.hangsUp?.serverOwes) this.core.byesUnanswered.add(this);
    if (sessions.delete(this.id)) directory.release(this.appServer.id);
    this.closeRecord(context);
  }

  /** Notes how it ended, and what it cost. */
  private closeRecord({ startedAt, endedAt, endedBy }: SessionContext): void {
    const { branch, facts, charges } = this;
    if (!branch) return;
    this.branch = undefined;
    if (startedAt !== null) {
      const durationMs = Math.max(0, (endedAt ?? this.now()) - startedAt);
      branch.stopped(durationMs, { facts, durationMs, book: charges.bookIfAny } satisfies CostsOfSession);
    }
    branch.close(endedBy === null ? "" : endedByText(endedBy));
  }

  /** A fault of the relay ends this one session. Its end is put on record (decision 13). */
  crashed(error: unknown): void {
    this.core.counters.crashed++;
    this.branch?.because(FAULT);
    const facts = { ...ofSession(this), err: error };
    this.core.peerLog.error("session failed by a fault of the relay", this.facts.user, facts);
    this.hangUp.afterFault();
    this.reportFailure({ status: 500 });
    this.close();
  }
}

/** The client keeps its id when it goes on to another app server (RFC 7989 §6). */
function identityFor(request: RequestPort | undefined, random: Random): SessionIdentity | undefined {
  if (!request || request.calls) return undefined;
  const before = (request.change ?? request.move)?.first.identity;
  return before?.beside() ?? SessionIdentity.of(request.transaction.request, random);
}

/**
 * A part takes over when the client has agreed to it. So does a session to which the relay invites the client (M23).
 */
const startsAtAck = (previous: Origin["previous"], request: RequestPort | undefined): boolean =>
  previous?.by === "change" || request?.move?.clientLeg !== undefined;

type Writable<T> = { -readonly [K in keyof T]: T[K] };
