import type { SipRequest, SipResponse } from "../../sip/message.ts";
import type { Clock } from "../../support/clock.ts";
import type { Timer, TimerOwner, TimerQueues } from "../../support/timer-queues.ts";
import { takeOver } from "../../transaction/responses.ts";
import type { ServerTransaction, TimerSettings } from "../../transaction/types.ts";
import type { Flow } from "../../transport/types.ts";

export interface AnswerOptions {
  readonly transaction: ServerTransaction;
  readonly response: SipResponse;
  readonly durations: TimerSettings;
  readonly clock: Clock;
  readonly timers: TimerQueues;
  /** How many times it is repeated at most; undefined: as long as it takes. */
  readonly repeats?: number | undefined;
  readonly onAck: (ack: SipRequest) => void;
  readonly onSilence: () => void;
}

/**
 * A 2xx to an INVITE. The transaction user itself repeats it until the ACK comes, over any transport, and gives up
 * after 64*T1 (RFC 3261 §13.3.1.4).
 */
export class Answer implements TimerOwner {
  readonly seq: number;
  /** Whether this 2xx makes the dialog. */
  readonly opens: boolean;
  private readonly options: AnswerOptions;
  private timer: Timer | undefined;
  private intervalMs: number;
  private readonly giveUpAt: number;
  private repeatsLeft: number;

  constructor(options: AnswerOptions) {
    const { transaction, durations, clock } = options;
    this.options = options;
    this.seq = transaction.request.cseq?.number ?? 0;
    this.repeatsLeft = options.repeats ?? Number.POSITIVE_INFINITY;
    this.opens = transaction.request.toTag === undefined;
    this.intervalMs = durations.t1Ms;
    this.giveUpAt = clock.monotonic() + 64 * durations.t1Ms;
  }

  /** Sends it, and again until its ACK comes. */
  start(): void {
    const { transaction, response, timers } = this.options;
    transaction.respond(response);
    this.timer = timers.start(this, "repeat", this.intervalMs);
  }

  /** What is repeated, and by which flow. All of it is there before it is sent for the first time. */
  get sent(): { readonly response: SipResponse; readonly flow: Flow } {
    const { response, transaction } = this.options;
    takeOver(response, transaction.request);
    return { response, flow: transaction.flow };
  }

  /** The ACK came: no more repetitions. */
  acknowledged(ack: SipRequest): void {
    this.stop();
    this.options.onAck(ack);
  }

  stop(): void {
    this.options.timers.stop(this.timer);
  }

  timerFired(): void {
    const { transaction, response, durations, clock, timers, onSilence } = this.options;
    const leftMs = this.giveUpAt - clock.monotonic();
    if (leftMs <= 0) {
      onSilence();
      return;
    }
    if (this.repeatsLeft-- > 0) transaction.respond(response);
    this.intervalMs = Math.min(this.intervalMs * 2, durations.t2Ms);
    // The rest is waited for in steps of T1, so that the timers have few different durations.
    this.timer = timers.start(this, "repeat", leftMs < this.intervalMs ? durations.t1Ms : this.intervalMs);
  }
}
