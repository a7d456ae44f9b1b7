import type { SipResponse } from "../../sip/message.ts";
import { formatRAck, parseRAck, parseRSeq } from "../../sip/reliability.ts";
import type { TimerHandle } from "../../support/clock.ts";
import type { ServerTransaction } from "../../transaction/types.ts";
import { confirmDialog } from "../dialog/dialog.ts";
import { repeatsTo } from "../dialog/doubt.ts";
import { IGNORED } from "../dialog/outcomes.ts";
import { hasOption } from "../dialog/passing.ts";
import { reply } from "../dialog/reply.ts";
import { Leg } from "../leg/leg.ts";
import type { SessionPort as Session } from "../model/core.ts";
import { relayMessage } from "../session/relayed.ts";

/** What is used here of the INVITE to the app server. */
interface Asked {
  /** CSeq number of the INVITE. */
  readonly seq: number;
  final(response: SipResponse): void;
}

/** A reliable provisional answer that the client has not acknowledged. */
interface Unacknowledged {
  /** Its RSeq towards the client, and its RSeq from the app server. */
  readonly rseq: number;
  readonly rseqOfServer: number;
  readonly response: SipResponse;
}

/**
 * Bounds: how many answers may wait for the one before them, and how many ends behind one app server may answer the
 * INVITE.
 */
const MAX_WAITING = 8;
const MAX_ENDS = 16;

/**
 * The reliable provisional answers of one branch (RFC 3262). The app server's answers are taken in their order, and go
 * to the client with RSeq numbers of the relay. Each is repeated until the client's PRACK comes, which then goes to the
 * app server. So descriptions in provisional answers, in PRACK and in its answer pass from end to end, while each end
 * has its own dialog, numbers and timers.
 */
export class Reliable {
  private readonly session: Session;
  private readonly invitation: Asked;
  private readonly server: Leg;
  private readonly transaction: ServerTransaction;
  private readonly clientTakes: boolean;
  /** The last RSeq that came in order, by the To tag of the app server's end (RFC 3262 §4). */
  private readonly received = new Map<string, number>();
  private nextRSeq: number;
  private readonly waiting: Unacknowledged[] = [];
  /** The last answer taken that is to go to the client reliably. */
  private taken: SipResponse | undefined;
  /** A 2xx that must not reach the client before it has acknowledged a description (RFC 3262 §3). */
  private held: SipResponse | undefined;
  private timer: TimerHandle;
  private intervalMs = 0;
  private giveUpAt = 0;
  private repeatsLeft: number | undefined;

  constructor(session: Session, invitation: Asked, server: Leg, transaction: ServerTransaction) {
    this.session = session;
    this.invitation = invitation;
    this.server = server;
    this.transaction = transaction;
    const { headers } = transaction.request;
    this.clientTakes = hasOption(headers, "supported", "100rel") || hasOption(headers, "require", "100rel");
    // RFC 3262 §3: the first is between 1 and 2^31 - 1, at random.
    this.nextRSeq = (Number.parseInt(session.core.random.token(32).slice(-8), 16) % (2 ** 31 - 1)) + 1;
  }

  /** Takes a provisional answer with RSeq. False: it came before, or out of order, and is ignored (RFC 3262 §4). */
  take(response: SipResponse): boolean {
    const rseq = parseRSeq(response.headers.get("rseq") ?? "");
    const tag = response.toTag;
    if (!rseq.ok || tag === undefined || !hasOption(response.headers, "require", "100rel")) return true;
    const last = this.received.get(tag);
    if (last === undefined ? this.received.size >= MAX_ENDS : rseq.value !== last + 1) return false;
    if (this.waiting.length >= MAX_WAITING) return false; // The app server repeats it, because it is not acknowledged.
    this.received.set(tag, rseq.value);
    const { dialog } = this.server;
    if (dialog.remoteTag === "") confirmDialog(dialog, response);
    if (tag === dialog.remoteTag && this.clientTakes && !this.transaction.answered) this.taken = response;
    else this.acknowledge(response, rseq.value);
    return true;
  }

  /** Whether this answer of the app server is to go to the client with `relay`. */
  isTaken(response: SipResponse): boolean {
    return this.taken === response;
  }

  /**
   * Passes the last answer taken to the client: now, or when the client has acknowledged the one before (RFC 3262 §3).
   */
  relay(answer: SipResponse): void {
    const rseq = this.nextRSeq++;
    answer.headers.add("Require", "100rel").add("RSeq", String(rseq));
    this.waiting.push({ rseq, rseqOfServer: this.received.get(this.server.dialog.remoteTag)!, response: answer });
    if (this.waiting.length === 1) this.send();
  }

  /**
   * Passes the client's PRACK on, with the app server's RSeq in it; 481 where it acknowledges nothing (RFC 3262 §3).
   */
  prack(prack: ServerTransaction): void {
    const rack = parseRAck(prack.request.headers.get("rack") ?? "");
    const first = this.waiting[0];
    const matches =
      rack.ok &&
      rack.value.rseq === first?.rseq &&
      rack.value.cseq === this.transaction.request.cseq?.number &&
      rack.value.method === "INVITE";
    if (!matches) {
      reply(prack, 481);
      return;
    }
    this.waiting.shift();
    this.stop();
    relayMessage(this.session, "client", prack, (request) => {
      request.headers.add("RAck", this.rackFor(first!.rseqOfServer));
    });
    if (this.held && !this.describes()) this.release();
    else if (this.waiting.length > 0) this.send();
  }

  /**
   * RFC 3262 §3: no 2xx while a description is unacknowledged. If an app server sends one all the same, it is held back
   * until then, and this returns true.
   */
  holds(response: SipResponse): boolean {
    if (this.held) return true;
    if (!this.describes()) return false;
    this.held = response;
    return true;
  }

  /**
   * The branch is given up: nothing is repeated or held back any more. A 2xx that was held goes on, so that its session
   * is ended.
   */
  giveUp(): void {
    this.answered();
    this.waiting.length = 0;
    this.release();
  }

  /**
   * A 2xx goes to the client: nothing is repeated and nothing new is sent, but one PRACK may still come (RFC 3262 §3).
   */
  answered(): void {
    this.stop();
    this.waiting.length = Math.min(1, this.waiting.length);
  }

  stop(): void {
    this.session.core.clock.clearTimeout(this.timer);
  }

  /** Lets a 2xx that is held go on. */
  private release(): void {
    const { held } = this;
    if (!held) return;
    this.held = undefined;
    this.invitation.final(held);
  }

  private describes(): boolean {
    return this.waiting.some(({ response }) => response.body.length > 0);
  }

  private send(): void {
    const { clock, config } = this.session.core;
    this.intervalMs = config.timers.t1Ms;
    this.giveUpAt = clock.monotonic() + 64 * config.timers.t1Ms;
    const { client } = this.session;
    this.repeatsLeft = client && repeatsTo(this.transaction.flow, client.dialog);
    this.transaction.respond(this.waiting[0]!.response);
    this.arm();
  }

  private arm(): void {
    const { clock } = this.session.core;
    const inMs = Math.min(this.intervalMs, Math.max(0, this.giveUpAt - clock.monotonic()));
    this.timer = clock.setTimeout(() => this.repeat(), inMs);
  }

  private repeat(): void {
    const { clock } = this.session.core;
    if (this.transaction.answered) {
      this.acknowledgeAll();
      return;
    }
    if (clock.monotonic() >= this.giveUpAt) {
      // RFC 3262 §3: without a PRACK the request is rejected. Here this means only this branch.
      this.session.actor.send({ type: "client.silent", at: this.session.now() });
      return;
    }
    if (this.repeatsLeft === undefined || this.repeatsLeft-- > 0) this.transaction.respond(this.waiting[0]!.response);
    this.intervalMs *= 2; // RFC 3262 §3: doubles, without the cap T2.
    this.arm();
  }

  /**
   * Another branch has answered the client, so the client takes no provisional answers any more (RFC 6026 §7.1). The
   * relay acknowledges them itself.
   */
  private acknowledgeAll(): void {
    for (const { rseqOfServer } of this.waiting.splice(0)) this.sendPrack(this.server, rseqOfServer);
    this.release();
  }

  /**
   * The relay itself acknowledges, without a body, an answer that the client cannot acknowledge. Either the client does
   * not support 100rel, or the app server has forked, and the answer is from an end for which the client has no dialog.
   * DEVIATION: an offer in such an answer gets no answer (RFC 3262 §5).
   */
  private acknowledge(response: SipResponse, rseq: number): void {
    if (response.toTag === this.server.dialog.remoteTag) {
      this.sendPrack(this.server, rseq);
      return;
    }
    const stray = new Leg(this.session.core, this.session, "server", { ...this.server.dialog }, false);
    confirmDialog(stray.dialog, response);
    this.sendPrack(stray, rseq);
  }

  private sendPrack(leg: Leg, rseqOfServer: number): void {
    const prack = leg.request("PRACK");
    prack.headers.add("RAck", this.rackFor(rseqOfServer));
    leg.send(prack, IGNORED);
  }

  private rackFor(rseqOfServer: number): string {
    return formatRAck({ rseq: rseqOfServer, cseq: this.invitation.seq, method: "INVITE" });
  }
}
