import type { SessionEventOf, Side } from "../../../machines/events.ts";
import type { SessionContext } from "../../../machines/session.ts";
import type { Outcome } from "../../charging/charges/book.ts";
import { formatReason } from "../../sip/headers.ts";
import { type SipRequest, SipResponse } from "../../sip/message.ts";
import { reasonPhrase } from "../../sip/response.ts";
import type { ClientTransactionUser, ServerTransaction } from "../../transaction/types.ts";
import type { Flow } from "../../transport/types.ts";
import { adviseClient } from "../charges/advice.ts";
import { answerCharges } from "../charges/charge-answers.ts";
import { requestWithin } from "../dialog/dialog.ts";
import { IGNORED, meansGone } from "../dialog/outcomes.ts";
import { reply } from "../dialog/reply.ts";
import { takeRest } from "../leg/rest.ts";
import { sendWithin } from "../leg/route.ts";
import { contained } from "../model/contained.ts";
import type { LegPort as Leg, SessionPort as Session } from "../model/core.ts";
import { endedByText, reasonOf } from "../model/endings.ts";
import type { HangUpPort } from "../model/ports.ts";

/**
 * BYE, whoever sends it: what the actions of the chart `session` do when a session ends. What an app server charges at
 * the end comes in its own BYE, or in its answer to BYE (M16).
 */
export class HangUp implements HangUpPort {
  private readonly session: Session;
  /** The BYE of the end that hung up; undefined: the relay ends the session. */
  bye: ServerTransaction | undefined;
  /** What the other end answered to that BYE. */
  private byeAnswer: SipResponse | undefined;
  /** What becomes of the charges in the app server's own BYE; undefined: there are none. */
  private byeCharges: Promise<Outcome> | undefined;
  /** The app server has not answered a BYE that it was sent. */
  serverOwes = false;
  /** Resolves when the end is on record. */
  private recorded: Promise<void> = DONE;
  /** When its clock stopped, as it stands on record; 0: the clock never ran. */
  private endedAt = 0;

  constructor(session: Session) {
    this.session = session;
  }

  relayBye(event: SessionEventOf<"bye">, context: SessionContext): void {
    const { session } = this;
    this.bye = event.payload;
    session.leg(event.from)?.hungUp();
    if (event.from === "client") session.transfer?.clientLeft();
    session.change?.abort();
    const to = context.leaving[0]!;
    const { request } = this.bye;
    if (event.from === "server") this.byeCharges = session.charges.collect(request);
    session.awaitByeAnswer();
    this.sendBye(to, (bye) => {
      session.core.border.pass(request, bye, to);
      if (to === "server") return;
      adviseClient(session, bye, context.startedAt, latestEnd(session, context));
    });
  }

  sendByes(context: SessionContext): void {
    const { session } = this;
    session.change?.abort();
    const { cause, text } = reasonOf(context.endedBy);
    const reason = formatReason(cause, text); // RFC 3326: says why nobody hung up and the session is over all the same
    session.awaitByeAnswer();
    for (const side of context.leaving)
      this.sendBye(side, (bye) => {
        bye.headers.add("Reason", reason);
        if (side === "client") adviseClient(session, bye, context.startedAt, latestEnd(session, context));
      });
  }

  /**
   * A fault has stopped the chart. Puts the end on record all the same, answers whoever has hung up, and sends BYE to
   * both ends. What the app server charges in its answer counts as ever.
   */
  afterFault(): void {
    const { bye, session } = this;
    const { context, core } = session;
    if (context.startedAt !== null) {
      const endedAt = endOf(session, context);
      session.endPart(endedAt);
      core.ending.add(session.charges.ended(context.startedAt, endedAt, endedByText("fault")));
    }
    if (bye && !bye.answered) reply(bye, 500);
    for (const side of ["client", "server"] as const) if (!session.leg(side)?.over) this.sendBye(side, () => {});
  }

  private sendBye(to: Side, fill: (bye: SipRequest) => void): void {
    const { session } = this;
    const leg = session.leg(to);
    if (!leg || (to === "client" && !leg.confirmed)) {
      leg?.unwanted?.();
      session.actor.send({ type: "bye.failed", by: to, at: session.now() });
      return;
    }
    if (to === "server") this.serverOwes = true;
    leg.whenAcknowledged(new Bye(session, this, leg, fill));
  }

  /** The BYE to this end was answered, or its answer is no longer awaited. */
  settled(by: Side): void {
    if (by === "client") return;
    this.serverOwes = false;
    this.session.core.byesUnanswered.delete(this.session);
  }

  /**
   * Answers a BYE that asks for nothing more: the session ends already. Where it brings charges, the answer waits until
   * they are on disk, because a 200 promises that.
   */
  answerBye(event: SessionEventOf<"bye">): void {
    const { session } = this;
    const bye = event.payload;
    session.leg(event.from)?.hungUp();
    const charges = event.from === "server" ? session.charges.collect(bye.request) : undefined;
    if (charges) {
      const answered = charges.then((outcome) => answerCharges(bye, outcome));
      session.core.ending.add(contained(session.core, answered, { transaction: bye }));
    } else reply(bye, 200);
  }

  /** Takes the charges out of an answer to BYE, which is kept for whoever hung up. */
  collectCharges(event: SessionEventOf<"bye.answered">): void {
    const { session } = this;
    this.byeAnswer = event.payload;
    const charged = event.by === "server" ? session.charges.collect(event.payload) : undefined;
    if (charged) void contained(session.core, charged, session);
  }

  recordEnd(context: SessionContext): void {
    const { session } = this;
    const { core, charges } = session;
    if (context.endedBy !== "change") core.counters.ended++;
    if (context.startedAt === null) {
      this.recorded = charges.settled();
      return;
    }
    const endedAt = endOf(session, context);
    this.endedAt = endedAt;
    session.endPart(endedAt);
    // Where the next part has taken over, the event that starts that part also ends this one.
    if (context.endedBy === "change") this.recorded = charges.settled();
    else this.recorded = charges.ended(context.startedAt, endedAt, endedByText(context.endedBy));
    // The late answer to BYE and a late charge must find the same book, whichever comes first.
    if (this.serverOwes) charges.open();
    core.ended.add(session, endedAt);
  }

  relayByeAnswer(context: SessionContext): void {
    const { bye, byeAnswer, byeCharges, session } = this;
    const { core } = session;
    // A relay that stops waits for what is in `ending`: the session is gone by then, but its end is still on its way to
    // the disk, and the answer to BYE waits for that.
    if (!bye) {
      core.ending.add(this.recorded);
      return;
    }
    const tell = (charged?: Outcome) => {
      if (charged?.kind === "refused") {
        answerCharges(bye, charged); // the session is over all the same (RFC 3261 §15.1.1)
        return;
      }
      const response = new SipResponse(200, reasonPhrase(200));
      // Whatever the other end answered, the session is over for the end that hung up: it hears 200.
      if (byeAnswer && byeAnswer.status < 300)
        core.border.pass(byeAnswer, response, context.endedBy === "client" ? "client" : "server");
      if (context.endedBy === "client") adviseClient(session, response, context.startedAt, this.endedAt);
      bye.respond(response);
    };
    const answered = this.recorded.then(
      () => (byeCharges ? byeCharges.then(tell) : tell()),
      () => reply(bye, 500, [], "The end of the session could not be put on record"),
    );
    core.ending.add(contained(core, answered, { transaction: bye }));
  }
}

/** The relay's BYE to one end. */
class Bye implements ClientTransactionUser {
  private readonly session: Session;
  private readonly hangUp: HangUp;
  private readonly leg: Leg;
  private readonly fill: (bye: SipRequest) => void;

  constructor(session: Session, hangUp: HangUp, leg: Leg, fill: (bye: SipRequest) => void) {
    this.session = session;
    this.hangUp = hangUp;
    this.leg = leg;
    this.fill = fill;
  }

  send(): void {
    const { leg } = this;
    if (leg.over) {
      this.failed(); // this end has hung up in the meantime and needs no BYE
      return;
    }
    leg.over = true;
    const bye = leg.request("BYE");
    this.fill(bye);
    if (leg.stranded) this.session.core.flowsElsewhere?.owes(leg, (flow) => this.sendBy(flow));
    leg.send(bye, this);
  }

  final(response: SipResponse): void {
    const { session } = this;
    const by = this.leg.side;
    this.hangUp.settled(by);
    if (!meansGone(response.status)) this.leg.isThere();
    if (by === "server") takeRest(session.core, session.appServer, response);
    if (session.closed) collectLate(session, by, response);
    else session.actor.send({ type: "bye.answered", by, at: session.now(), payload: response });
  }

  timeout(): void {
    this.failed();
  }

  transportError(): void {
    this.failed();
  }

  /** The session is over, and the peer whose connection was lost is reached after all: it may still be in the call. */
  private sendBy(flow: Flow): void {
    const { core } = this.session;
    const dialog = { ...this.leg.dialog, flow };
    const bye = requestWithin(dialog, "BYE");
    this.fill(bye);
    sendWithin(core, dialog, bye, IGNORED);
  }

  private failed(): void {
    this.hangUp.settled(this.leg.side);
    this.session.actor.send({ type: "bye.failed", by: this.leg.side, at: this.session.now() });
  }
}

/**
 * The app server has answered BYE when nobody waited for that any longer. Its charges count all the same; nobody is
 * told what became of them.
 */
function collectLate(session: Session, by: Side, response: SipResponse): void {
  const charged = by === "server" ? session.charges.collect(response) : undefined;
  if (charged) session.core.ending.add(charged);
}

/**
 * When the session's clock stopped, as it is to stand on record: not later than both ends were last heard of. Where the
 * next part of the call has taken over, this one ended when that began.
 */
function endOf(session: Session, context: SessionContext): number {
  const at = latestEnd(session, context);
  if (context.endedBy === "change") return at;
  return Math.min(lastHeardAt(session.client, at), lastHeardAt(session.server, at));
}

/**
 * The latest time at which the clock may turn out to have stopped, for the client that hears BYE while the other end
 * may still answer. A user who pays in advance pays for no time after the money was used up, not even while BYE waits
 * for its answer.
 */
function latestEnd(session: Session, { endedAt, byeAt, endedBy }: SessionContext): number {
  const at = endedAt ?? byeAt ?? session.now();
  return endedBy === "change" ? at : Math.min(at, session.credit?.until ?? at);
}

/**
 * When this end of a session was last heard of, if that was before `at`; else `at`. After the relay was killed and
 * started again, an end that has not come back may have been gone since the kill: the user pays for no time since then,
 * whatever ends the session meanwhile.
 */
const lastHeardAt = (leg: Leg | undefined, at: number): number => Math.min(at, leg?.unheardSince ?? at);

/** When this end of a session last showed that it was there, but not after `at`. */
export const lastSignOf = (leg: Leg | undefined, at: number): number =>
  Math.min(lastHeardAt(leg, at), leg?.heardAt || at);

const DONE = Promise.resolve();
