import { Answer } from "../../src/relay/dialog/answer.ts";
import {
  confirmDialog,
  type Dialog,
  dialogAsServer,
  refreshTarget,
  requestWithin,
} from "../../src/relay/dialog/dialog.ts";
import { type SipRequest, SipResponse } from "../../src/sip/message.ts";
import { reasonPhrase } from "../../src/sip/response.ts";
import type { Random } from "../../src/support/random.ts";
import { TimerQueues } from "../../src/support/timer-queues.ts";
import { createTransactionLayer, type Transactions } from "../../src/transaction/layer.ts";
import type { NewRequest, ServerTransaction, TransactionUser } from "../../src/transaction/types.ts";
import { defaultTimers } from "../../src/transaction/types.ts";
import type { TestClock } from "../support/test-clock.ts";
import type { Chance } from "./chance.ts";
import type { Host } from "./network.ts";

export interface Surroundings {
  readonly clock: TestClock;
  readonly chance: Chance;
  readonly random: Random;
  /** Address of the relay. */
  readonly relay: string;
}

/** What stands in a message beside what every message has. */
export interface Filling {
  readonly headers?: readonly (readonly [name: string, value: string])[];
  readonly type?: string;
  readonly body?: string;
}

/** One end's half of a session. */
export interface Half {
  readonly dialog: Dialog;
  /** The 2xx of ours that waits for its ACK. */
  answer: Answer | undefined;
  /** The reliable provisional of ours that waits for its PRACK. */
  ringing?: number | undefined;
  /** A BYE of ours is under way: the peer may still speak. */
  leaving: boolean;
  /** A request of ours that must not meet another of ours (RFC 3261 §14.1). */
  changing: boolean;
}

/**
 * A SIP user agent that keeps to the protocol, on transactions of its own, and knows no stories: clients and app
 * servers of the simulation are made of it.
 */
export abstract class Agent implements TransactionUser {
  readonly host: Host;
  readonly halves = new Map<string, Half>();
  protected readonly around: Surroundings;
  protected transactions: Transactions;

  private readonly timers: TimerQueues;

  constructor(around: Surroundings, host: Host) {
    this.around = around;
    this.timers = new TimerQueues(around.clock, (error) => {
      throw error;
    });
    this.host = host;
    this.transactions = this.attach();
  }

  /**
   * What is not over yet. Not its transactions: an INVITE that the other end has given up while every word of that was
   * lost stays open for ever, by the protocol (RFC 3261 §17.1.1.2, §9.1).
   */
  get leftovers(): Record<string, number> {
    return { dialogs: this.halves.size };
  }

  /** The power is cut: everything is forgotten, nothing is said. */
  crash(): void {
    this.host.down = true;
    for (const half of this.halves.values()) half.answer?.stop();
    this.halves.clear();
    this.transactions.close();
  }

  /** It is there again, and knows nothing. */
  restart(): void {
    this.transactions = this.attach();
    this.host.down = false;
  }

  /** Does it after a while, unless it has crashed in between. */
  protected later(leastMs: number, mostMs: number, act: () => void): void {
    const { clock, chance } = this.around;
    const life = this.transactions;
    clock.setTimeout(
      () => {
        if (this.transactions === life && !this.host.down) act();
      },
      chance.between(leastMs, mostMs),
    );
  }

  private attach(): Transactions {
    const { clock, random } = this.around;
    const transactions = createTransactionLayer({ transport: this.host, clock, random, user: this });
    this.host.deliver = (message, flow) => transactions.received(message, flow);
    return transactions;
  }

  // --- what comes ---

  request(transaction: NewRequest): void {
    const { method, toTag, fromTag } = transaction.request;
    transaction.begin();
    if (toTag === undefined) {
      if (method === "INVITE") this.invited(transaction);
      else if (method === "OPTIONS") this.reply(transaction, 200);
      else this.reply(transaction, 481);
      return;
    }
    const half = this.halves.get(`${toTag} ${fromTag}`);
    if (!half) {
      this.reply(transaction, 481);
      return;
    }
    const number = transaction.request.cseq?.number ?? 0;
    if (number <= half.dialog.remoteSeq) {
      this.reply(transaction, 500); // RFC 3261 §12.2.2
      return;
    }
    half.dialog.remoteSeq = number;
    if (method === "PRACK") {
      const rang = transaction.request.headers.get("rack") === `${half.ringing} 1 INVITE`;
      if (rang) half.ringing = undefined;
      this.reply(transaction, rang ? 200 : 481); // RFC 3262 §3
    } else if (method === "BYE") this.hungUp(half, transaction);
    else if (method === "INVITE" || method === "UPDATE") this.changed(half, transaction);
    else this.reply(transaction, 200);
  }

  ack(ack: SipRequest): void {
    const answer = this.halves.get(`${ack.toTag} ${ack.fromTag}`)?.answer;
    if (answer?.seq === ack.cseq?.number) answer?.acknowledged(ack);
  }

  flowFailed(): void {}

  /** A first INVITE. */
  protected abstract invited(transaction: ServerTransaction): void;

  /** The answer to a BYE may carry something. */
  protected farewell(_half: Half): Filling {
    return {};
  }

  protected hungUp(half: Half, transaction: ServerTransaction): void {
    this.reply(transaction, 200, this.farewell(half));
    this.forget(half);
  }

  /** A re-INVITE or UPDATE of the peer: taken in most cases. */
  protected changed(half: Half, transaction: ServerTransaction): void {
    const { chance } = this.around;
    if (half.changing || half.answer) {
      this.reply(transaction, 491); // RFC 3261 §14.2
      return;
    }
    if (chance.percent(10)) {
      this.reply(transaction, 488);
      return;
    }
    refreshTarget(half.dialog, transaction.request);
    if (transaction.request.method === "UPDATE") this.reply(transaction, 200, { headers: [["Contact", this.contact]] });
    else this.answer(half, transaction, { type: "application/sdp", body: "v=0" });
  }

  // --- what goes ---

  get contact(): string {
    return `<sip:${this.host.address}:5060>`;
  }

  protected reply(transaction: ServerTransaction, status: number, filling: Filling = {}, tag?: string): void {
    const response = new SipResponse(status, reasonPhrase(status));
    if (tag !== undefined) response.headers.add("To", `${transaction.request.headers.get("to")};tag=${tag}`);
    fill(response, filling);
    transaction.respond(response);
  }

  /** A 2xx to INVITE, repeated until its ACK comes; without one the session is over (RFC 3261 §13.3.1.4). */
  protected answer(half: Half, transaction: ServerTransaction, filling: Filling): void {
    const response = new SipResponse(200, "OK");
    if (transaction.request.toTag === undefined) response.headers.add("To", half.dialog.local);
    response.headers.add("Contact", this.contact);
    fill(response, filling);
    half.answer = new Answer({
      transaction,
      response,
      durations: defaultTimers,
      clock: this.around.clock,
      timers: this.timers,
      onAck: () => {
        half.answer = undefined;
        this.acknowledged(half, transaction);
      },
      onSilence: () => {
        half.answer = undefined;
        this.hangUp(half);
      },
    });
    half.answer.start();
  }

  /** The ACK of an answer of ours came. */
  protected acknowledged(_half: Half, _transaction: ServerTransaction): void {}

  /** The half that answering an INVITE makes. */
  protected halfFor({ request, flow }: ServerTransaction): Half {
    const dialog = dialogAsServer(request, this.around.random.token(64), this.contact, flow);
    return this.keep({ dialog, answer: undefined, leaving: false, changing: false });
  }

  protected keep(half: Half): Half {
    const { dialog } = half;
    dialog.destination = { transport: "udp", address: this.around.relay, port: 5060 };
    this.halves.set(keyOf(dialog), half);
    return half;
  }

  /**
   * Sends an INVITE out of the blue. `answered` is told of each success once, with the half that it makes; `failed`
   * once, if there is none.
   */
  protected invite(
    target: string,
    filling: Filling,
    told: { answered(half: Half, response: SipResponse): void; failed(status: number): void },
  ): { cancel(): void } {
    const { relay } = this.around;
    const base = this.base(target);
    const invite = requestWithin(base, "INVITE");
    fill(invite, filling);
    const halves = new Map<string, Half>();
    // Each of its own tag, so that halves of one INVITE are told apart by what the relay calls them.
    const early = new Map<string, { readonly dialog: Dialog; rseq: number }>();
    return this.transactions.send(
      invite,
      { transport: "udp", address: relay, port: 5060 },
      {
        provisional: (response) => {
          const rseq = Number(response.headers.get("rseq") ?? 0);
          const tag = response.toTag ?? "";
          if (rseq === 0) return;
          const known = early.get(tag) ?? { dialog: { ...base }, rseq: rseq - 1 };
          if (rseq !== known.rseq + 1) return; // RFC 3262 §4: it came again, or not in its turn
          if (!early.has(tag)) confirmDialog(known.dialog, response);
          early.set(tag, known);
          known.rseq = rseq;
          const prack = requestWithin(known.dialog, "PRACK");
          prack.headers.add("RAck", `${rseq} 1 INVITE`);
          this.transactions.send(prack, { transport: "udp", address: relay, port: 5060 }, NOTHING);
        },
        final: (response) => {
          if (response.status >= 300) {
            if (halves.size === 0) told.failed(response.status);
            return;
          }
          const known = halves.get(response.toTag ?? "");
          if (known) {
            this.sendAck(known, 1); // it came again: its ACK was lost
            return;
          }
          const dialog = early.get(response.toTag ?? "")?.dialog ?? { ...base };
          confirmDialog(dialog, response);
          const half = this.keep({ dialog, answer: undefined, leaving: false, changing: false });
          halves.set(response.toTag ?? "", half);
          this.sendAck(half, 1);
          told.answered(half, response);
        },
        timeout: () => told.failed(408),
        transportError: () => told.failed(503),
      },
    );
  }

  /** Sends a request that belongs to no dialog. */
  protected outside(method: string, target: string, filling: Filling): void {
    const request = requestWithin(this.base(target), method);
    fill(request, filling);
    this.transactions.send(request, { transport: "udp", address: this.around.relay, port: 5060 }, NOTHING);
  }

  /** A dialog that is none yet. */
  private base(target: string): Dialog {
    const { random } = this.around;
    const localTag = random.token(64);
    return {
      callId: random.token(96),
      localTag,
      remoteTag: "",
      local: `<sip:alice@portal.com>;tag=${localTag}`,
      remote: `<${target}>`,
      remoteTarget: target,
      routes: [],
      localSeq: 0,
      remoteSeq: -1,
      contact: this.contact,
    };
  }

  protected sendAck({ dialog }: Half, seq: number, filling: Filling = {}): void {
    const ack = requestWithin(dialog, "ACK", seq);
    fill(ack, filling);
    this.transactions.sendAck(ack, dialog.destination!);
  }

  /**
   * Sends a request inside the dialog; `done` is told the final status, 408 where none came. A success to re-INVITE is
   * acknowledged.
   */
  protected within(
    half: Half,
    method: string,
    filling: Filling,
    done: (status: number, response?: SipResponse) => void = () => {},
  ): { cancel(): void } {
    const request: SipRequest = requestWithin(half.dialog, method);
    const seq = half.dialog.localSeq;
    fill(request, filling);
    let over = false;
    return this.transactions.send(request, half.dialog.destination!, {
      final: (response) => {
        if (method === "INVITE" && response.status < 300) this.sendAck(half, seq);
        if (over) return;
        over = true;
        if (response.status < 300 && (method === "INVITE" || method === "UPDATE")) refreshTarget(half.dialog, response);
        if (response.status === 481 || response.status === 408) this.forget(half); // RFC 3261 §12.2.1.2
        done(response.status, response);
      },
      timeout: () => {
        this.forget(half);
        done(408);
      },
      transportError: () => done(503),
    });
  }

  /** `answered`: told what came of it; 408: nothing. */
  protected hangUp(half: Half, filling: Filling = {}, answered: (status: number) => void = () => {}): void {
    if (half.leaving || !this.isOpen(half)) return;
    half.leaving = true;
    half.answer?.stop();
    half.answer = undefined;
    this.within(half, "BYE", filling, (status) => {
      this.forget(half);
      answered(status);
    });
  }

  protected isOpen(half: Half): boolean {
    return this.halves.get(keyOf(half.dialog)) === half;
  }

  protected forget(half: Half): void {
    half.answer?.stop();
    half.answer = undefined;
    if (this.isOpen(half)) this.halves.delete(keyOf(half.dialog));
  }
}

/** Nobody waits for the answer. */
const NOTHING = { final: () => {}, timeout: () => {}, transportError: () => {} };

/** Halves that one forked INVITE makes share our tag and are told apart by the peer's. */
const keyOf = ({ localTag, remoteTag }: Dialog): string => `${localTag} ${remoteTag}`;

function fill(message: SipRequest | SipResponse, { headers = [], type, body }: Filling): void {
  for (const [name, value] of headers) message.headers.add(name, value);
  if (body === undefined) return;
  message.headers.add("Content-Type", type ?? "application/sdp");
  message.body = Buffer.from(body);
}
