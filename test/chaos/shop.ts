import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import { SESSION_HEADER } from "../../src/charging/charges/header-names.ts";
import { Answer } from "../../src/relay/dialog/answer.ts";
import { type Dialog, dialogAsServer, refreshTarget, requestWithin } from "../../src/relay/dialog/dialog.ts";
import { type SipRequest, SipResponse } from "../../src/sip/message.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { defaultTimers, type ServerTransaction, type TransactionUser } from "../../src/transaction/types.ts";
import type { Chance } from "../simulation/chance.ts";
import { peerTimers, reply, UdpEnd } from "../support/udp-end.ts";
import type { Audit } from "./audit.ts";
import { type CallRecord, type ChargeRecord, hungUpBy, type Ledger } from "./calls.ts";
import { ask, type Ways } from "./ways.ts";

export interface ShopOptions {
  readonly audit: Audit;
  readonly ledger: Ledger;
  readonly chance: Chance;
  /** It rings so long at most before it answers. */
  readonly ringMs: number;
  /** How often it charges in a session. */
  readonly chargeMs: number;
  /** Of a hundred sessions, in how many it hangs up; after so long at most. */
  readonly hangsUp: number;
  readonly holdMs: number;
}

interface Sitting {
  readonly dialog: Dialog;
  readonly call: CallRecord;
  answer?: Answer;
  over: boolean;
  /** One request at a time, so that the network cannot change their order (RFC 3261 §12.2.2). */
  asking: boolean;
}

/** An app server over UDP, scripted: it rings, answers, charges, and hangs up now and then. */
export class Shop implements TransactionUser {
  private end!: UdpEnd;
  /** Given when the nodes are there. */
  ways!: Ways;
  private readonly options: ShopOptions;
  private readonly sittings = new Map<string, Sitting>();
  private readonly run = systemRandom.token(32);

  private constructor(options: ShopOptions) {
    this.options = options;
  }

  static async open(options: ShopOptions): Promise<Shop> {
    const shop = new Shop(options);
    shop.end = await UdpEnd.open(shop, {
      portFor: (destination, sent) => shop.ways.portFor(destination, sent),
      seen: (message, port) => options.audit.seen(message, port),
    });
    return shop;
  }

  get port(): number {
    return this.end.port;
  }

  /** Sessions that the app server believes to stand. */
  get left(): number {
    let left = 0;
    for (const { over } of this.sittings.values()) if (!over) left++;
    return left;
  }

  close(): void {
    for (const { answer } of this.sittings.values()) answer?.stop();
    this.end.close();
  }

  request(transaction: ServerTransaction): void {
    const { request } = transaction;
    if (request.toTag === undefined) {
      if (request.method === "INVITE") this.invited(transaction);
      else reply(transaction, 200);
      return;
    }
    const sitting = this.sittings.get(request.toTag);
    if (!sitting || sitting.over) {
      reply(transaction, 481);
      return;
    }
    const { call, dialog } = sitting;
    if (request.method === "BYE") {
      hungUpBy(this.options.ledger, call, request.headers.get("reason"), "app server");
      this.over(sitting);
    }
    const response = new SipResponse(200, "OK");
    if (request.method === "UPDATE" || request.method === "INVITE") {
      refreshTarget(dialog, request);
      response.headers.add("Contact", this.end.contact);
    }
    transaction.respond(response);
  }

  ack(ack: SipRequest): void {
    const sitting = this.sittings.get(ack.toTag ?? "");
    sitting?.answer?.acknowledged(ack);
  }

  flowFailed(): void {}

  private invited(transaction: ServerTransaction): void {
    const { chance, ledger, ringMs } = this.options;
    const { request } = transaction;
    const call = ledger.calls[Number(/s=(\d+)/.exec(request.body.toString())?.[1])];
    if (!call) {
      reply(transaction, 400);
      return;
    }
    const dialog = dialogAsServer(request, systemRandom.token(64), this.end.contact, transaction.flow);
    const session = request.headers.get(SESSION_HEADER.toLowerCase()) ?? "";
    const answer = () => {
      if (!transaction.answered) this.answer(transaction, dialog, call, session);
    };
    transaction.onCancel = () => reply(transaction, 487);
    const afterMs = chance.between(0, ringMs);
    if (afterMs < 20) {
      answer();
      return;
    }
    const ringing = new SipResponse(180, "Ringing");
    ringing.headers.add("To", dialog.local).add("Contact", this.end.contact);
    transaction.respond(ringing);
    systemClock.setTimeout(answer, afterMs);
  }

  private answer(transaction: ServerTransaction, dialog: Dialog, call: CallRecord, session: string): void {
    const { ledger } = this.options;
    const response = new SipResponse(200, "OK");
    response.headers.add("To", dialog.local).add("Contact", this.end.contact);
    if (call.seen !== undefined && call.seen !== session) call.twice = true;
    call.seen = session;
    const sitting: Sitting = { dialog, call, over: false, asking: false };
    this.sittings.set(dialog.localTag, sitting);
    const answer = new Answer({
      ...{ transaction, response, clock: systemClock, timers: peerTimers, durations: defaultTimers },
      onAck: () => {
        ledger.sessions.set(session, call);
        if (call.confirmedAt !== undefined && call.session !== session) return; // a second node's, for the same call
        call.confirmedAt = Date.now();
        call.session = session;
        this.serve(sitting);
      },
      // RFC 3261 §13.3.1.4: it has no session then, and says so.
      onSilence: () => {
        const bye = requestWithin(dialog, "BYE");
        this.over(sitting);
        ask(this.end, this.ways, this.options.ledger, bye, () => {});
      },
    });
    sitting.answer = answer;
    answer.start();
  }

  private serve(sitting: Sitting): void {
    const { chance, chargeMs, hangsUp, holdMs } = this.options;
    const leaveAt = chance.percent(hangsUp) ? Date.now() + holdMs * chance.next() : Number.POSITIVE_INFINITY;
    const step = () => {
      if (sitting.over) return;
      if (Date.now() >= leaveAt) return this.hangUp(sitting);
      this.charge(sitting);
      systemClock.setTimeout(step, chargeMs * (0.5 + chance.next()));
    };
    systemClock.setTimeout(step, chargeMs * chance.next());
  }

  private charge(sitting: Sitting): void {
    if (sitting.asking) return;
    const { ledger, chance } = this.options;
    const { charges } = ledger;
    const price = `0.${String(chance.between(1, 60)).padStart(2, "0")}`;
    const charge: ChargeRecord = { id: `${this.run}-${charges.length}`, call: sitting.call, price, state: "open" };
    charges.push(charge);
    this.askFor(sitting, charge);
  }

  /** Until somebody says yes or no, as app servers have to. */
  private askFor(sitting: Sitting, charge: ChargeRecord): void {
    const { ledger } = this.options;
    const { id, price, call } = charge;
    sitting.asking = true;
    const info = requestWithin(sitting.dialog, "INFO");
    info.headers.add("Info-Package", PACKAGE).add("Content-Type", CHARGE_JSON);
    info.body = Buffer.from(JSON.stringify({ charges: [{ id, item: "thing", unitPrice: price, currency: "EUR" }] }));
    ask(this.end, this.ways, ledger, info, (response) => {
      sitting.asking = false;
      const status = response?.status;
      if (status === 200) charge.state = "answered";
      else if (status === 400 || status === 402 || status === 403) charge.state = "refused";
      else {
        if (!sitting.over && (status === 481 || status === undefined))
          ledger.lose(call, `app server: INFO ${status ?? "without an answer"}`);
        ledger.count("odd", `INFO ${status ?? "without an answer"}`, call);
        if (sitting.over) return;
        sitting.asking = true;
        systemClock.setTimeout(() => this.askFor(sitting, charge), 500);
      }
    });
  }

  private hangUp(sitting: Sitting): void {
    const { call, dialog } = sitting;
    const isFirst = call.hungUp === undefined && call.ended === undefined;
    if (isFirst) call.hungUp = "server";
    this.over(sitting);
    ask(this.end, this.ways, this.options.ledger, requestWithin(dialog, "BYE"), (response) => {
      if (isFirst && response?.status !== 200 && response?.status !== 481)
        call.lost ??= `app server: BYE ${response?.status ?? "without an answer"}`;
    });
  }

  private over(sitting: Sitting): void {
    if (sitting.over) return;
    sitting.over = true;
    sitting.call.serverOverAt = Date.now();
  }
}
