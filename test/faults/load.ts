import { CHARGE_JSON, PACKAGE } from "../../src/charging/charges/body.ts";
import { SESSION_HEADER } from "../../src/charging/charges/header-names.ts";
import { Answer } from "../../src/relay/dialog/answer.ts";
import { confirmDialog, type Dialog, dialogAsServer, requestWithin } from "../../src/relay/dialog/dialog.ts";
import { type SipRequest, SipResponse } from "../../src/sip/message.ts";
import { systemClock } from "../../src/support/clock.ts";
import { systemRandom } from "../../src/support/random.ts";
import { defaultTimers, type ServerTransaction, type TransactionUser } from "../../src/transaction/types.ts";
import type { Destination } from "../../src/transport/types.ts";
import { destinationOf, peerTimers, reply, UdpEnd } from "../support/udp-end.ts";

/*
 * A client and an app server that make many calls with charges through a relay on real sockets, and note what they were
 * promised.
 */

/** One charge that the app server has asked for. */
export interface Asked {
  readonly id: string;
  readonly session: string;
  readonly unitPrice: string;
  /**
   * `answered`: with 200, so it must be on the bill. `refused`: it must not be. `open`: nobody knows; it is asked for
   * again.
   */
  state: "open" | "answered" | "refused";
}

export interface LoadOptions {
  readonly rate: number;
  readonly seconds: number;
  /** How long a session lasts. */
  readonly holdMs: number;
  readonly chargesPerCall: number;
}

/** Answers every INVITE, charges, and waits for BYE. */
export class LoadServer implements TransactionUser {
  readonly asked: Asked[] = [];
  chargesPerCall = 1;
  private end!: UdpEnd;
  private readonly run = systemRandom.token(32);
  private readonly answers = new Map<string, Answer>();

  static async open(): Promise<LoadServer> {
    const server = new LoadServer();
    server.end = await UdpEnd.open(server);
    return server;
  }

  get port(): number {
    return this.end.port;
  }

  request(transaction: ServerTransaction): void {
    const { request } = transaction;
    if (request.method !== "INVITE" || request.toTag !== undefined) {
      reply(transaction, 200);
      return;
    }
    const dialog = dialogAsServer(request, systemRandom.token(64), this.end.contact, transaction.flow);
    const session = request.headers.get(SESSION_HEADER.toLowerCase()) ?? "";
    const response = new SipResponse(200, "OK");
    response.headers.add("To", dialog.local).add("Contact", this.end.contact);
    const over = () => this.answers.delete(dialog.localTag);
    const answer = new Answer({
      transaction,
      response,
      durations: defaultTimers,
      clock: systemClock,
      timers: peerTimers,
      onAck: () => {
        over();
        for (let i = 0; i < this.chargesPerCall; i++) this.charge(dialog, session);
      },
      onSilence: over,
    });
    this.answers.set(dialog.localTag, answer);
    answer.start();
  }

  ack(ack: SipRequest): void {
    this.answers.get(ack.toTag ?? "")?.acknowledged(ack);
  }

  flowFailed(): void {}

  close(): void {
    for (const answer of this.answers.values()) answer.stop();
    this.end.close();
  }

  private charge(dialog: Dialog, session: string): void {
    const n = this.asked.length + 1;
    const asked: Asked = {
      id: `${this.run}-${n}`,
      session,
      unitPrice: `${n % 7}.${String(n % 100).padStart(2, "0")}`,
      state: "open",
    };
    this.asked.push(asked);
    const info = requestWithin(dialog, "INFO");
    info.headers.add("Info-Package", PACKAGE).add("Content-Type", CHARGE_JSON);
    info.body = Buffer.from(JSON.stringify({ charges: [chargeOf(asked)] }));
    this.end.transactions.send(info, destinationOf(dialog), {
      final: ({ status }) => {
        if (status === 200) asked.state = "answered";
        else if (status === 400 || status === 403) asked.state = "refused";
      },
      timeout: () => {},
      transportError: () => {},
    });
  }
}

export const chargeOf = ({ id, unitPrice }: Asked) => ({ id, item: "thing", unitPrice, currency: "EUR" });

/** Makes calls at a rate, each held for a while. */
export class LoadClient implements TransactionUser {
  established = 0;
  failed = 0;
  private end!: UdpEnd;
  private readonly relay: Destination;
  private under = 0;

  private constructor(relayPort: number) {
    this.relay = { transport: "udp", address: "127.0.0.1", port: relayPort };
  }

  static async open(relayPort: number): Promise<LoadClient> {
    const client = new LoadClient(relayPort);
    client.end = await UdpEnd.open(client);
    return client;
  }

  /** Resolves when every call is over, or has failed. */
  async make({ rate, seconds, holdMs }: LoadOptions): Promise<void> {
    const startedAt = Date.now();
    const calls = rate * seconds;
    for (let made = 0; made < calls; ) {
      const due = Math.min(calls, Math.floor(((Date.now() - startedAt) / 1000) * rate) + 1);
      for (; made < due; made++) this.call(holdMs);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    while (this.under > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  }

  request(transaction: ServerTransaction): void {
    reply(transaction, 200); // BYE of a relay that lost somebody, OPTIONS
  }

  ack(): void {}

  flowFailed(): void {}

  close(): void {
    this.end.close();
  }

  private call(holdMs: number): void {
    const localTag = systemRandom.token(64);
    const dialog: Dialog = {
      callId: systemRandom.token(96),
      localTag,
      remoteTag: "",
      local: `<sip:alice:secret@portal.example>;tag=${localTag}`,
      remote: "<sip:wine@portal.example>",
      remoteTarget: "sip:wine@portal.example",
      routes: [],
      localSeq: 0,
      remoteSeq: -1,
      contact: this.end.contact,
    };
    this.under++;
    let over = false;
    const done = (established: boolean) => {
      if (over) return;
      over = true;
      this.under--;
      if (!established) this.failed++;
    };
    let answered = false;
    this.end.transactions.send(requestWithin(dialog, "INVITE"), this.relay, {
      final: (response) => {
        if (response.status >= 300) return done(false);
        if (!answered) confirmDialog(dialog, response);
        this.end.transactions.sendAck(requestWithin(dialog, "ACK", 1), destinationOf(dialog));
        if (answered) return;
        answered = true;
        this.established++;
        systemClock.setTimeout(() => this.hangUp(dialog, () => done(true)), holdMs);
      },
      timeout: () => done(false),
      transportError: () => done(false),
    });
  }

  private hangUp(dialog: Dialog, done: () => void): void {
    const bye = requestWithin(dialog, "BYE");
    this.end.transactions.send(bye, destinationOf(dialog), { final: done, timeout: done, transportError: done });
  }
}
