import type { Side } from "../../../machines/events.ts";
import { parseRetryAfter } from "../../sip/headers.ts";
import type { SipResponse } from "../../sip/message.ts";
import type { ClientTransaction, ClientTransactionUser } from "../../transaction/types.ts";
import { meansGone } from "../dialog/outcomes.ts";
import { ALLOW } from "../dialog/passing.ts";
import { takeRest } from "../leg/rest.ts";
import { askForTimer, takeMinimum, takeTimer } from "../leg/session-timer.ts";
import type { LegPort, SessionPort } from "../model/core.ts";
import type { UnderWay } from "../model/ports.ts";
import { Ringing } from "./ringing.ts";

/** The peer has no UPDATE, whatever it said in Allow: the next refresh is a re-INVITE. */
const HAS_NO_UPDATE: ReadonlySet<number> = new Set([405, 501]);
/** After a refusal that says nothing of when to come again. RFC 4028 §10: not continuously. */
const SOON_MS = 1_000;
const LATER_MS = 10_000;
const MOST_LATER_S = 600;

/**
 * The relay refreshes the session with one end (RFC 4028 §10): by UPDATE without a body, or by a re-INVITE that repeats
 * what the peer was told last. Until it is answered, it is the session's `change`. The other end hears nothing of it.
 */
export class Refresh implements ClientTransactionUser, UnderWay {
  readonly from = "relay" as const;
  private readonly session: SessionPort;
  private readonly leg: LegPort;
  private readonly method: "UPDATE" | "INVITE";
  private readonly ringing: Ringing;
  /** How often the peer had moved when the request was sent. */
  private readonly moves: number;
  private transaction: ClientTransaction | undefined;
  private seq = 0;
  private answered = false;
  private aborted = false;

  /** Returns at once; `change.done` follows. */
  static begin(session: SessionPort, side: Side): void {
    const leg = session.leg(side);
    if (!leg?.timer?.runs) {
      session.actor.send({ type: "change.done" });
      return;
    }
    const refresh = new Refresh(session, leg);
    session.beginChange(refresh);
    refresh.start();
  }

  private constructor(session: SessionPort, leg: LegPort) {
    this.session = session;
    this.leg = leg;
    this.method = leg.timer?.byInvite ? "INVITE" : "UPDATE";
    this.moves = leg.moves;
    this.ringing = new Ringing(session, leg.side, () => this.transaction?.cancel());
  }

  private start(): void {
    const { leg, method } = this;
    const request = leg.request(method);
    this.seq = leg.dialog.localSeq;
    request.headers.add("Allow", ALLOW);
    askForTimer(leg, request);
    const description = method === "INVITE" ? leg.timer?.description : undefined;
    if (description) {
      request.headers.add("Content-Type", description.type);
      request.body = Buffer.from(description.text, "latin1");
    }
    leg.timer?.again(this.session.now(), Number.POSITIVE_INFINITY); // the answer says when
    leg.send(request, this, (started) => {
      this.transaction = started;
      if (this.aborted && method === "INVITE") started.cancel();
    });
  }

  provisional(response: SipResponse): void {
    if (!this.answered && response.status > 100) this.ringing.hears();
  }

  final(response: SipResponse): void {
    const { session, leg, method } = this;
    const { status } = response;
    this.ringing.stop();
    if (status < 300 && method === "INVITE") leg.sendAck(this.seq); // also if it comes again (RFC 3261 §13.2.2.4)
    if (this.answered || this.aborted) return;
    this.answered = true;
    if (leg.side === "server") takeRest(session.core, session.appServer, response);
    if (meansGone(status)) {
      this.done();
      this.lost(`answered ${status} to a refresh of the session`);
      return;
    }
    leg.isThere();
    if (status < 300) {
      leg.refresh(response);
      takeTimer(leg, response, undefined);
    } else leg.timer?.again(session.now(), this.laterMs(response));
    this.done();
    session.timerChanged();
  }

  /** When to try again after a refusal, milliseconds. */
  private laterMs(response: SipResponse): number {
    const { session, leg, method } = this;
    const { status, headers } = response;
    if (method === "UPDATE" && HAS_NO_UPDATE.has(status) && leg.timer) {
      leg.timer.byInvite = true;
      return 0;
    }
    if (status === 422 && takeMinimum(leg, response)) return SOON_MS; // RFC 4028 §7.3
    if (status === 491) {
      // RFC 3261 §14.1: who has made the Call-ID waits longer.
      const chance = Number.parseInt(session.core.random.token(8), 16) % 191 || 0;
      return leg.side === "server" ? 2_100 + chance * 10 : chance * 10;
    }
    const afterS = parseRetryAfter(headers.get("retry-after")) ?? 0;
    return afterS > 0 ? Math.min(afterS, MOST_LATER_S) * 1000 : LATER_MS;
  }

  timeout(): void {
    this.failed();
    this.lost("no answer to a refresh of the session");
  }

  transportError(): void {
    this.failed();
    // Whether it comes back by another connection is found out as ever.
    if (!this.aborted && this.leg.moves === this.moves) this.session.probe(this.leg);
  }

  /** The session ends: BYE follows (RFC 3261 §15). */
  abort(): void {
    this.aborted = true;
    this.ringing.stop();
    if (!this.answered && this.method === "INVITE") this.transaction?.cancel();
    this.session.endChange(this);
  }

  private failed(): void {
    this.answered = true;
    this.ringing.stop();
    this.leg.timer?.again(this.session.now());
    this.done();
    this.session.timerChanged();
  }

  private lost(why: string): void {
    if (!this.aborted && this.leg.moves === this.moves) this.session.lost(this.leg.side, why);
  }

  private done(): void {
    if (this.session.change !== this) return;
    this.session.endChange(this);
    this.session.actor.send({ type: "change.done" });
  }
}
