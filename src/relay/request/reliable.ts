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

/** The INVITE to the app server, as far as it matters here. */
interface Asked {
  /** Number of its request. */
  readonly seq: number;
  final(response: SipResponse): void;
}

/** A reliable provisional answer that the client has not acknowledged. */
interface Unacknowledged {
  /** Its number towards the client, and the app server's. */
  readonly rseq: number;
  readonly rseqOfServer: number;
  readonly response: SipResponse;
}

/** Bounds: answers that wait for the one before them, and ends behind one app server that answer the same INVITE. */
const MAX_WAITING = 8;
const MAX_ENDS = 16;

/**
 * The reliable provisional answers of one branch (RFC 3262): the app server's are taken in their order, passed to the
 * client under numbers of the relay's own and repeated until its PRACK comes, which goes to the app server in turn.
 * So a description in a provisional answer, in PRACK and in its answer passes from end to end, and each end has its
 * own dialog, numbers and timers.
 */
export class Reliable {
  private readonly session: Session;
  private readonly invitation: Asked;
  private readonly server: Leg;
  private readonly transaction: ServerTransaction;
  private readonly clientTakes: boolean;
  /** The app server's last number by its To tag: of those that came in order (RFC 3262 §4). */
  private readonly received = new Map<string, number>();
  private nextRSeq: number;
  private readonly waiting: Unacknowledged[] = [];
  /** The answer taken last that goes to the client reliably. */
  private taken: SipResponse | undefined;
  /** A 2xx that must not go out before the client has acknowledged a description (RFC 3262 §3). */
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

  /**
   * A provisional answer with RSeq. False: it came before, or not in its turn, and nothing is done with it (RFC 3262
   * §4).
   */
  take(response: SipResponse): boolean {
    const rseq = parseRSeq(response.headers.get("rseq") ?? "");
    const tag = response.toTag;
    if (!rseq.ok || tag === undefined || !hasOption(response.headers, "require", "100rel")) return true;
    const last = this.received.get(tag);
    if (last === undefined ? this.received.size >= MAX_ENDS : rseq.value !== last + 1) return false;
    if (this.waiting.length >= MAX_WAITING) return false; // It comes again, since nobody has acknowledged it.
    this.received.set(tag, rseq.value);
    const { dialog } = this.server;
    if (dialog.remoteTag === "") confirmDialog(dialog, response);
    if (tag === dialog.remoteTag && this.clientTakes && !this.transaction.answered) this.taken = response;
    else this.acknowledge(response, rseq.value);
    return true;
  }

  /** Whether this answer of the app server is to go to the client by `relay`. */
  isTaken(response: SipResponse): boolean {
    return this.taken === response;
  }

  /** Passes the answer taken last to the client, now or when it has acknowledged the one before (RFC 3262 §3). */
  relay(answer: SipResponse): void {
    const rseq = this.nextRSeq++;
    answer.headers.add("Require", "100rel").add("RSeq", String(rseq));
    this.waiting.push({ rseq, rseqOfServer: this.received.get(this.server.dialog.remoteTag)!, response: answer });
    if (this.waiting.length === 1) this.send();
  }

  /** The client's PRACK: goes to the app server with its number; 481 where it acknowledges nothing (RFC 3262 §3). */
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
   * RFC 3262 §3: no 2xx while a description is unacknowledged. An app server that sends one all the same is held
   * until then; true: this answer is.
   */
  holds(response: SipResponse): boolean {
    if (this.held) return true;
    if (!this.describes()) return false;
    this.held = response;
    return true;
  }

  /** The branch is given up: nothing is repeated, and nothing held, since a 2xx has to be ended. */
  giveUp(): void {
    this.answered();
    this.waiting.length = 0;
    this.release();
  }

  /** A 2xx goes to the client: nothing is repeated, nothing new is sent, but a PRACK may still come (RFC 3262 §3). */
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
      // RFC 3262 §3: the request is rejected, which here is this branch.
      this.session.actor.send({ type: "client.silent", at: this.session.now() });
      return;
    }
    if (this.repeatsLeft === undefined || this.repeatsLeft-- > 0) this.transaction.respond(this.waiting[0]!.response);
    this.intervalMs *= 2; // RFC 3262 §3: doubles, without the cap T2.
    this.arm();
  }

  /**
   * Another branch has answered the client, which can take no provisional answers any more (RFC 6026 §7.1): the relay
   * acknowledges them.
   */
  private acknowledgeAll(): void {
    for (const { rseqOfServer } of this.waiting.splice(0)) this.sendPrack(this.server, rseqOfServer);
    this.release();
  }

  /**
   * Acknowledges by itself, without a body, what the client cannot: it knows no 100rel, or this is another end behind
   * the app server that forked, for which the client has no dialog. DEVIATION: an offer in such an answer gets none
   * (RFC 3262 §5).
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
