import type { SipRequest, SipResponse } from "../sip/message.ts";
import type { Clock, TimerHandle } from "../support/clock.ts";
import type { ServerTransaction, TimerSettings } from "../transaction/types.ts";

/**
 * A 2xx to INVITE on its way to whoever asked: the TU itself repeats it until the ACK comes, over any transport, and gives up
 * after 64*T1 (RFC 3261 §13.3.1.4).
 */
export class Answer {
  readonly seq: number;
  private readonly transaction: ServerTransaction;
  private readonly response: SipResponse;
  private readonly timers: TimerSettings;
  private readonly clock: Clock;
  private readonly onAck: (ack: SipRequest) => void;
  private readonly onSilence: () => void;
  private timer: TimerHandle;
  private intervalMs: number;
  private readonly giveUpAt: number;

  constructor(options: {
    transaction: ServerTransaction;
    response: SipResponse;
    timers: TimerSettings;
    clock: Clock;
    onAck: (ack: SipRequest) => void;
    onSilence: () => void;
  }) {
    this.transaction = options.transaction;
    this.response = options.response;
    this.timers = options.timers;
    this.clock = options.clock;
    this.onAck = options.onAck;
    this.onSilence = options.onSilence;
    this.seq = options.transaction.request.cseq?.number ?? 0;
    this.intervalMs = this.timers.t1Ms;
    this.giveUpAt = this.clock.now() + 64 * this.timers.t1Ms;
    this.transaction.respond(this.response);
    this.arm();
  }

  /** The ACK came: no more repetitions. */
  acknowledged(ack: SipRequest): void {
    this.stop();
    this.onAck(ack);
  }

  stop(): void {
    this.clock.clearTimeout(this.timer);
  }

  private arm(): void {
    this.timer = this.clock.setTimeout(
      () => {
        if (this.clock.now() >= this.giveUpAt) {
          this.onSilence();
          return;
        }
        this.transaction.respond(this.response);
        this.intervalMs = Math.min(this.intervalMs * 2, this.timers.t2Ms);
        this.arm();
      },
      Math.min(this.intervalMs, Math.max(0, this.giveUpAt - this.clock.now())),
    );
  }
}
