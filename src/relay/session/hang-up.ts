import type { SessionEventOf, Side } from "../../../machines/events.ts";
import type { SessionContext } from "../../../machines/session.ts";
import type { Outcome } from "../../charging/charges/book.ts";
import { formatReason } from "../../sip/headers.ts";
import { type SipRequest, SipResponse } from "../../sip/message.ts";
import { reasonPhrase } from "../../sip/response.ts";
import type { ClientTransactionUser } from "../../transaction/types.ts";
import { adviseClient } from "../charges/advice.ts";
import { answerCharges } from "../charges/charge-answers.ts";
import { reply } from "../dialog/reply.ts";
import { takeRest } from "../leg/rest.ts";
import { contained } from "../model/contained.ts";
import type { LegPort as Leg, SessionPort as Session } from "../model/core.ts";
import { endedByText, reasonOf } from "../model/endings.ts";

/*
 * BYE, whoever sends it: actions of the chart `session`. What an app server charges at the end comes in its own BYE or in its answer to one (M16).
 */

export function relayBye(session: Session, event: SessionEventOf<"bye">, context: SessionContext): void {
  session.bye = event.payload;
  session.leg(event.from)?.hungUp();
  if (event.from === "client") session.transfer?.clientLeft();
  session.change?.abort();
  const to = context.leaving[0]!;
  const { request } = session.bye;
  if (event.from === "server") session.byeCharges = session.charges.collect(request);
  session.awaitByeAnswer();
  sendBye(session, to, (bye) => {
    session.core.border.pass(request, bye, to);
    if (to === "server") return;
    adviseClient(session, bye, context.startedAt, event.at);
  });
}

export function sendByes(session: Session, context: SessionContext): void {
  session.change?.abort();
  const { cause, text } = reasonOf(context.endedBy);
  const reason = formatReason(cause, text); // RFC 3326: says why nobody hung up and the session is over all the same
  session.awaitByeAnswer();
  for (const side of context.leaving)
    sendBye(session, side, (bye) => {
      bye.headers.add("Reason", reason);
      if (side === "client") adviseClient(session, bye, context.startedAt, endOf(session, context));
    });
}

/** Its chart runs no more: both ends are told, and whoever has hung up. What the app server charges in its answer counts as ever. */
export function hangUpAfterFault(session: Session): void {
  if (session.bye && !session.bye.answered) reply(session.bye, 500);
  for (const side of ["client", "server"] as const) if (!session.leg(side)?.over) sendBye(session, side, () => {});
}

function sendBye(session: Session, to: Side, fill: (bye: SipRequest) => void): void {
  const leg = session.leg(to);
  if (!leg || (to === "client" && !leg.confirmed)) {
    leg?.unwanted?.();
    session.actor.send({ type: "bye.failed", by: to, at: session.now() });
    return;
  }
  if (to === "server") session.serverOwes = true;
  leg.whenAcknowledged(new Bye(session, leg, fill));
}

/** The relay's BYE to one end. */
class Bye implements ClientTransactionUser {
  private readonly session: Session;
  private readonly leg: Leg;
  private readonly fill: (bye: SipRequest) => void;

  constructor(session: Session, leg: Leg, fill: (bye: SipRequest) => void) {
    this.session = session;
    this.leg = leg;
    this.fill = fill;
  }

  send(): void {
    const { leg } = this;
    if (leg.over) {
      this.failed(); // it has hung up meanwhile, and waits for nothing of the relay's
      return;
    }
    leg.over = true;
    const bye = leg.request("BYE");
    this.fill(bye);
    leg.send(bye, this);
  }

  final(response: SipResponse): void {
    const { session } = this;
    const by = this.leg.side;
    this.settle();
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

  private failed(): void {
    this.settle();
    this.session.actor.send({ type: "bye.failed", by: this.leg.side, at: this.session.now() });
  }

  /** Nothing more comes of it. */
  private settle(): void {
    if (this.leg.side === "client") return;
    this.session.serverOwes = false;
    this.session.core.byesUnanswered.delete(this.session);
  }
}

/** A BYE for which there is nothing left to do but to answer it: when what it charges is on disk, since a 200 would promise that. */
export function answerBye(session: Session, event: SessionEventOf<"bye">): void {
  const bye = event.payload;
  session.leg(event.from)?.hungUp();
  const charges = event.from === "server" ? session.charges.collect(bye.request) : undefined;
  if (charges) {
    const answered = charges.then((outcome) => answerCharges(bye, outcome));
    session.core.ending.add(contained(session.core, answered, { transaction: bye }));
  } else reply(bye, 200);
}

/** From here on only the app server's own words reach the client. */
export function collectCharges(session: Session, event: SessionEventOf<"bye.answered">): void {
  const response = event.payload;
  session.byeAnswer = response;
  const charged = event.by === "server" ? session.charges.collect(response) : undefined;
  if (charged) void contained(session.core, charged, session);
}

/** The app server has answered BYE after nobody waited for it any longer. Its charges came in time, and are answered for by nobody. */
function collectLate(session: Session, by: Side, response: SipResponse): void {
  const charged = by === "server" ? session.charges.collect(response) : undefined;
  if (charged) session.core.ending.add(charged);
}

/** When its clock stopped. Who pays in advance pays for no time after the money was used up, also while BYE waits for its answer. */
function endOf(session: Session, { endedAt, endedBy }: SessionContext): number {
  const at = endedAt ?? session.now();
  return endedBy === "change" ? at : Math.min(at, session.credit?.until ?? at);
}

export function recordEnd(session: Session, context: SessionContext): void {
  const { core } = session;
  if (context.endedBy !== "change") core.counters.ended++;
  if (context.startedAt === null) {
    session.recorded = session.charges.settled();
    return;
  }
  const endedAt = endOf(session, context);
  session.endPart(endedAt);
  // Where the next part has taken over, its start says when this one ended.
  if (context.endedBy === "change") session.recorded = session.charges.settled();
  else session.recorded = session.charges.ended(context.startedAt, endedAt, endedByText(context.endedBy));
  if (session.serverOwes) session.charges.open(); // there is one book, whatever comes first
  core.ended.add(session, endedAt);
}

export function relayByeAnswer(session: Session, context: SessionContext): void {
  const { bye, byeAnswer, byeCharges, core } = session;
  // A relay that stops waits for it: the session is gone by then, but its end is on its way to the disk and the answer to BYE waits for that.
  if (!bye) {
    core.ending.add(session.recorded);
    return;
  }
  const tell = (charged?: Outcome) => {
    if (charged?.kind === "refused") {
      answerCharges(bye, charged); // the session is over all the same (RFC 3261 §15.1.1)
      return;
    }
    const response = new SipResponse(200, reasonPhrase(200));
    // Whatever the other end said, for the one that hung up the session is over.
    if (byeAnswer && byeAnswer.status < 300)
      core.border.pass(byeAnswer, response, context.endedBy === "client" ? "client" : "server");
    if (context.endedBy === "client") adviseClient(session, response, context.startedAt, endOf(session, context));
    bye.respond(response);
  };
  const answered = session.recorded.then(
    () => (byeCharges ? byeCharges.then(tell) : tell()),
    () => reply(bye, 500, [], "The end of the session could not be put on record"),
  );
  core.ending.add(contained(core, answered, { transaction: bye }));
}
