import { confirmDialog, type Dialog, refreshTarget, requestWithin } from "../../src/relay/dialog/dialog.ts";
import { SipResponse } from "../../src/sip/message.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import type { ServerTransaction, TransactionUser } from "../../src/transaction/types.ts";
import type { Chance } from "../simulation/chance.ts";
import { reply, UdpEnd } from "../support/udp-end.ts";
import type { Audit } from "./audit.ts";
import { type CallRecord, hungUpBy, type Ledger } from "./calls.ts";
import { DOMAIN, PASSWORD } from "./nodes.ts";
import { ask, type Ways } from "./ways.ts";

/** A caller gives a call up that has rung so long. */
const RING_MS = 20_000;

export interface CallersOptions {
  readonly ways: Ways;
  readonly audit: Audit;
  readonly ledger: Ledger;
  readonly chance: Chance;
  /** How long sessions last on average, if the client ends them. */
  readonly holdMs: number;
  /** How often a client says something in a session. */
  readonly talkMs: number;
  readonly postpaid: readonly string[];
  readonly prepaid: readonly string[];
}

interface Standing {
  readonly dialog: Dialog;
  readonly call: CallRecord;
  /** One request at a time, so that the network cannot change their order (RFC 3261 §12.2.2). */
  asking: boolean;
}

/**
 * Few: the stand-in for MongoDB looks at all that was ever paid for each settlement, where MongoDB takes an index.
 */
const PREPAID_OF_100 = 10;

/** Clients over UDP, scripted, on one socket. */
export class Callers implements TransactionUser {
  private end!: UdpEnd;
  private readonly options: CallersOptions;
  private readonly standing = new Map<string, Standing>();
  /** Calls that are neither refused nor over. */
  under = 0;
  /** From now on nobody stays in a session. */
  private hurry = false;

  private constructor(options: CallersOptions) {
    this.options = options;
  }

  static async open(options: CallersOptions): Promise<Callers> {
    const callers = new Callers(options);
    const { ways, audit } = options;
    callers.end = await UdpEnd.open(callers, {
      portFor: ways.portFor,
      seen: (message, port) => audit.seen(message, port),
    });
    return callers;
  }

  get standingNow(): number {
    let standing = 0;
    for (const { call } of this.standing.values()) if (call.clientOverAt === undefined) standing++;
    return standing;
  }

  close(): void {
    this.end.close();
  }

  /** All hang up now. */
  hangUpAll(): void {
    this.hurry = true;
    for (const standing of this.standing.values()) this.hangUp(standing);
  }

  request(transaction: ServerTransaction): void {
    const { request } = transaction;
    const standing = this.standing.get(request.toTag ?? "");
    if (!standing) {
      reply(transaction, 481);
      return;
    }
    if (request.method === "BYE") {
      hungUpBy(this.options.ledger, standing.call, request.headers.get("reason"), "client");
      this.over(standing);
    }
    if (request.method === "UPDATE" || request.method === "INVITE") refreshTarget(standing.dialog, request);
    const response = new SipResponse(200, "OK");
    if (request.method === "UPDATE" || request.method === "INVITE") response.headers.add("Contact", this.end.contact);
    transaction.respond(response);
  }

  ack(): void {}

  flowFailed(): void {}

  call(): void {
    const { chance, ledger, postpaid, prepaid, ways } = this.options;
    const isPrepaid = prepaid.length > 0 && chance.percent(PREPAID_OF_100);
    const user = chance.of(isPrepaid ? prepaid : postpaid);
    const localTag = systemRandom.token(64);
    const dialog: Dialog = {
      callId: systemRandom.token(96),
      localTag,
      remoteTag: "",
      local: `<sip:${user}:${PASSWORD}@${DOMAIN}>;tag=${localTag}`,
      remote: `<sip:wine@${DOMAIN}>`,
      remoteTarget: `sip:wine@${DOMAIN}`,
      routes: [],
      localSeq: 0,
      remoteSeq: -1,
      contact: this.end.contact,
    };
    const call = ledger.call({ callId: dialog.callId, user, prepaid: isPrepaid });
    const invite = requestWithin(dialog, "INVITE");
    invite.headers.add("Content-Type", "application/sdp");
    invite.body = Buffer.from(`v=0\r\ns=${call.number}\r\n`);
    const since = Date.now();
    let heard = false;
    let standing: Standing | undefined;
    let isDone = false;
    const hears = () => {
      if (!heard) ledger.waited("INVITE", since);
      heard = true;
    };
    const fails = (why: string | number) => {
      hears();
      systemClock.clearTimeout(patience);
      if (isDone) return;
      isDone = true;
      this.under--;
      ledger.count("failed", why);
    };
    ledger.offered++;
    this.under++;
    const transaction = this.end.transactions.send(invite, ways.any(), {
      provisional: hears,
      final: (response) => {
        hears();
        if (response.status >= 300) return fails(response.status);
        systemClock.clearTimeout(patience);
        if (standing && standing.dialog.remoteTag !== response.toTag) return this.decline(dialog, response);
        if (!standing && isDone) return this.decline(dialog, response);
        if (!standing) {
          confirmDialog(dialog, response);
          standing = { dialog, call, asking: false };
          isDone = true;
          call.ackedAt = Date.now();
          this.standing.set(localTag, standing);
          this.stay(standing);
        }
        this.end.transactions.sendAck(requestWithin(dialog, "ACK", 1), ways.any());
      },
      timeout: () => fails("no answer"),
      transportError: () => fails("no way"),
    });
    const patience = systemClock.setTimeout(() => {
      if (standing || isDone) return;
      transaction.cancel();
      fails("rang too long");
    }, RING_MS);
  }

  private stay(standing: Standing): void {
    const { chance, holdMs, talkMs } = this.options;
    const leaveAt = Date.now() + holdMs * (0.2 + 1.6 * chance.next());
    const talk = () => {
      if (standing.call.clientOverAt !== undefined) return;
      if (Date.now() >= leaveAt || this.hurry) return this.hangUp(standing);
      this.talk(standing);
      systemClock.setTimeout(talk, talkMs * (0.5 + chance.next()));
    };
    systemClock.setTimeout(talk, Math.min(holdMs, talkMs) * chance.next());
  }

  private talk(standing: Standing): void {
    const { ways, ledger } = this.options;
    const { dialog, call, asking } = standing;
    if (asking) return;
    standing.asking = true;
    const message = requestWithin(dialog, "MESSAGE");
    message.headers.add("Content-Type", "text/plain");
    message.body = Buffer.from("hello");
    ask(this.end, ways, ledger, message, (response) => {
      standing.asking = false;
      if (call.clientOverAt !== undefined || response?.status === 200) return;
      if (response === undefined || response.status === 481)
        ledger.lose(call, `client: MESSAGE ${response?.status ?? "without an answer"}`);
      else ledger.count("odd", `MESSAGE ${response.status}`, call);
    });
  }

  private hangUp(standing: Standing): void {
    const { ways, ledger } = this.options;
    const { dialog, call } = standing;
    if (call.clientOverAt !== undefined) return;
    const isFirst = call.hungUp === undefined && call.ended === undefined;
    ask(this.end, ways, ledger, requestWithin(dialog, "BYE"), (response) => {
      // 481: the BYE was taken by a node that died before it could say so. Bills and the other end show whether it was.
      if (isFirst && response?.status !== 200 && response?.status !== 481)
        call.lost ??= `client: BYE ${response?.status ?? "without an answer"}`;
    });
    if (isFirst) call.hungUp = "client";
    this.over(standing);
  }

  private over(standing: Standing): void {
    const { call } = standing;
    if (call.clientOverAt !== undefined) return;
    call.clientOverAt = Date.now();
    this.under--;
    // It answers what is sent again for a while.
    systemClock.setTimeout(() => this.standing.delete(standing.dialog.localTag), 5_000);
  }

  /** A second node has answered the same INVITE: RFC 3261 §13.2.2.4 has the client take it, and end it. */
  private decline(first: Dialog, response: SipResponse): void {
    const { ways, ledger } = this.options;
    const dialog = { ...first, localSeq: 1 };
    confirmDialog(dialog, response);
    this.end.transactions.sendAck(requestWithin(dialog, "ACK", 1), ways.any());
    ledger.surplus++;
    ask(this.end, ways, ledger, requestWithin(dialog, "BYE"), () => {});
  }
}
