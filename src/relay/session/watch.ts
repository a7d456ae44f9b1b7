import type { TimerHandle } from "../../support/clock.ts";
import type { Timer, TimerOwner } from "../../support/timer-queues.ts";
import { meansGone } from "../dialog/outcomes.ts";
import { takeRest } from "../leg/rest.ts";
import { askForTimer, takeMinimum, takeTimer } from "../leg/session-timer.ts";
import type { LegPort, SessionPort } from "../model/core.ts";

/** How often a session is looked at that nobody probes. */
const NO_PROBE_LOOK_MS = 600_000;

const NEVER = Number.POSITIVE_INFINITY;

/** The peer has no UPDATE. It goes on to write to the address that it knows. */
const CANNOT_BE_TOLD = new Set([405, 501]);

/**
 * Looks at an established session now and then: whether both ends are still there, and whether its greatest duration
 * is over. Once BYE is on its way, it says how long the answer is awaited.
 */
export class Watch implements TimerOwner<"look" | "bye"> {
  private readonly session: SessionPort;
  private timer: Timer | undefined;
  private endTimer: TimerHandle;
  /** For the session timers of both ends (RFC 4028), where one is due before the next look. */
  private dueTimer: TimerHandle;
  private nextLookAt = 0;

  constructor(session: SessionPort) {
    this.session = session;
  }

  /** Starts the timer for the next look, and the one for the greatest duration where that ends first. */
  lookAgain(): void {
    const { session } = this;
    const { clock, timers, config } = session.core;
    const { probeS } = config.session;
    const lookMs = probeS > 0 ? probeS * 1000 : NO_PROBE_LOOK_MS;
    this.timer = timers.start(this, "look", lookMs);
    this.nextLookAt = session.now() + lookMs;
    this.timerChanged();
    const leftMs = session.endsAt - session.now();
    if (leftMs > lookMs) return;
    // The greatest duration gets a timer only now, since few sessions last that long.
    clock.clearTimeout(this.endTimer);
    this.endTimer = clock.setTimeout(() => session.end({ code: "max-duration" }), Math.max(0, leftMs));
  }

  /** Session timers, too, get a timer of the clock only shortly before they are due: few calls last that long. */
  timerChanged(): void {
    const { client, server, core } = this.session;
    const dueAt = Math.min(client?.timer?.dueAt ?? NEVER, server?.timer?.dueAt ?? NEVER);
    if (dueAt === NEVER && this.dueTimer === undefined) return;
    core.clock.clearTimeout(this.dueTimer);
    this.dueTimer = undefined;
    if (dueAt > this.nextLookAt || this.session.closed) return;
    const inMs = Math.max(0, dueAt - this.session.now());
    this.dueTimer = core.clock.setTimeout(() => this.due(), inMs);
  }

  /** RFC 4028 §10: the session is refreshed where that is for the relay to do, and ended where nobody has done so. */
  private due(): void {
    const { session } = this;
    const { actor, client, server } = session;
    this.dueTimer = undefined;
    for (const leg of [client, server]) {
      const now = session.now();
      if (!leg?.timer || leg.timer.dueAt > now) continue;
      if (leg.timer.endsAt <= now) {
        session.lost(leg.side, "its session timer ran out");
        return;
      }
      leg.timer.again(now); // if something else is under way
      actor.send({ type: "refresh.due", side: leg.side });
    }
    this.timerChanged();
  }

  /** The session was begun by another process and goes on here: both ends are asked at once whether they are there. */
  goOn(): void {
    this.lookAgain();
    const { client, server, core } = this.session;
    for (const leg of [client, server]) {
      if (!leg) continue;
      if (leg.stranded) core.otherFlows.look(leg);
      if (leg.stranded) core.flowsElsewhere?.look(leg);
      if (leg.stranded || leg.contactIsNew || core.config.session.probeS > 0) this.probe(leg);
      else leg.isThere(); // it is not asked, and so counts as there
    }
  }

  /**
   * BYE is on its way, and the end that hung up waits for its answer. It does not wait as long as timer F of its own
   * BYE would let it: that is long, and the client pays for the time (RFC 3261 §17.1.2, RFC 4320 §4.2). The ends are
   * no longer probed: a probe would overtake a BYE that was lost and is sent again, and that BYE would be refused
   * because of its lower CSeq (RFC 3261 §12.2.2).
   */
  awaitByeAnswer(): void {
    const { timers, config, clock } = this.session.core;
    timers.stop(this.timer);
    clock.clearTimeout(this.dueTimer);
    this.nextLookAt = 0; // no more refreshes
    this.timer = timers.start(this, "bye", config.session.byeAnswerS * 1000);
  }

  timerFired(name: "look" | "bye"): void {
    const { session } = this;
    const { client, server, core } = session;
    if (name === "bye") {
      core.counters.byesUnanswered++;
      session.actor.send({ type: "bye.late", at: session.now() });
      return;
    }
    // Who has refused to be told our Contact is told again, also where nobody is probed.
    for (const leg of [client, server])
      if (leg && (core.config.session.probeS > 0 || leg.contactIsNew)) this.probe(leg);
    this.lookAgain();
  }

  /**
   * Asks one end whether it is still in the session: OPTIONS inside the dialog, which changes nothing (RFC 3261 §11).
   * Where the session has come from another node, it is UPDATE, which tells the peer our Contact (RFC 3311 §5.1).
   */
  probe(leg: LegPort, tries = 1): void {
    const { core, appServer } = this.session;
    const { moves } = leg;
    // If the peer has moved since, the probe went to its old place and says nothing of where it is now.
    const gone = (why: string) => leg.moves === moves && leg.session.lost(leg.side, why);
    // After a restart the relay waits longer for a client to connect again: it may notice late that its connection is
    // gone.
    const { reconnectS } = leg.unheardSince === undefined ? core.config.session : core.afterRestart;
    const tells = leg.contactIsNew;
    const request = leg.request(tells ? "UPDATE" : "OPTIONS");
    if (tells) askForTimer(leg, request);
    leg.send(request, {
      final: (response) => {
        if (leg.side === "server") takeRest(core, appServer, response);
        if (meansGone(response.status)) {
          gone(`answered ${response.status} to a probe`);
          return;
        }
        if (tells && response.status < 300) takeTimer(leg, response, undefined);
        if (tells && (response.status < 300 || CANNOT_BE_TOLD.has(response.status))) leg.contactTold();
        leg.isThere();
        if (leg.moves === moves) leg.returned();
        const isTooShort = tells && response.status === 422 && takeMinimum(leg, response, tries);
        if (isTooShort && !leg.session.closed) this.probe(leg, tries + 1); // RFC 4028 §7.3
      },
      timeout: () => gone("no answer to a probe"),
      transportError: (why) => {
        // Its connection is being lost, and whoever hears of that asks anew.
        if (!leg.stranded && leg.dialog.flow?.open === false) return;
        // Clients that move close one connection and open another (RFC 5626 §4.5).
        if (leg.stranded && reconnectS > 0 && !leg.session.closed) leg.awaitReturn(reconnectS * 1000, () => gone(why));
        else gone(why);
      },
    });
  }

  /** The session is over here: no more looks. */
  stop(): void {
    const { clock, timers } = this.session.core;
    timers.stop(this.timer);
    clock.clearTimeout(this.endTimer);
    clock.clearTimeout(this.dueTimer);
  }
}
